// SPDX-License-Identifier: MIT
//! `idle`: a task for each channel. A thread without a runtime sends, as Tokio's channels allow.

use crate::home::Home;
use peer::idle::Page;
use peer::{fail, resident, result, Idle};
use std::future::pending;
use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use tokio::sync::mpsc::{channel, Receiver, Sender};
use tokio::task::yield_now;

async fn wait(mut rx: Receiver<u64>, idle: Arc<Idle>, started: Arc<AtomicUsize>) {
    started.fetch_add(1, Ordering::Relaxed);
    while let Some(message) = rx.recv().await {
        idle.take(message);
    }
}

/// Returns the channels and the memory for each.
async fn make(channels: usize, idle: &Arc<Idle>) -> (Vec<Sender<u64>>, u64) {
    let started = Arc::new(AtomicUsize::new(0));
    let mut senders = Vec::with_capacity(channels);
    let before = resident();

    for _ in 0..channels {
        let (tx, rx) = channel(1);
        senders.push(tx);
        tokio::spawn(wait(rx, idle.clone(), started.clone()));
    }
    while started.load(Ordering::Relaxed) < channels {
        yield_now().await;
    }
    (senders, resident().saturating_sub(before) / channels as u64)
}

pub fn run(home: &Home) {
    home.with_runtime(|runtime| {
        let args = home.args;
        let idle = Arc::new(Idle::default());
        let (senders, bytes) = runtime.block_on(make(args.channels, &idle));
        // Which thread of a shared runtime will run the task is not known.
        let page = if home.is_shared() { None } else { Some(Page::open()) };

        thread::spawn(move || {
            args.place(1);
            let mut times = idle.run(args, page.as_ref(), |n, message| {
                senders[n].try_send(message).unwrap_or_else(|_| fail("there is no room"));
            });
            result(args.messages, &idle.meter.span(), &mut times, &[("bytes", bytes)]);
            exit(0);
        });
        args.place(0);
        runtime.block_on(pending::<()>());
    });
}
