// SPDX-License-Identifier: MIT
//! The cases of channels whose ends are tasks of one thread, for peers that bring no executor: on that of async-executor.

use crate::idle::Page;
use crate::{resident, result, Args, Idle, Meter};
use async_executor::LocalExecutor;
use futures_lite::future::{block_on, pending};
use std::future::Future;
use std::process::exit;
use std::sync::Arc;
use std::thread;

/// `pingpong` with `where=one`. `ends` makes the two tasks for a number of rounds.
pub fn pingpong<F: Future<Output = ()>>(args: &Args, ends: impl Fn(u64) -> [F; 2]) {
    let rounds = (args.messages / 2).max(1);
    let meter = Meter::new();

    both(ends(rounds / 10));
    args.place(0);
    meter.start();
    both(ends(rounds));
    meter.stop();
    result(2 * rounds, &meter.span(), &mut [], &[]);
}

fn both<F: Future<Output = ()>>([ping, pong]: [F; 2]) {
    let executor = LocalExecutor::new();
    let ping = executor.spawn(ping);
    let pong = executor.spawn(pong);

    block_on(executor.run(async {
        ping.await;
        pong.await;
    }));
}

/// `idle`. `make` makes a channel, `wait` is the task that receives from it, `send` sends to it.
pub fn idle<S, R, F>(args: &Args, make: impl Fn() -> (S, R), wait: impl Fn(R, Arc<Idle>) -> F, send: fn(&S, u64))
where
    S: Sync,
    F: Future<Output = ()>,
{
    let executor = LocalExecutor::new();
    let idle = Arc::new(Idle::default());
    let mut senders = Vec::with_capacity(args.channels);
    let before = resident();

    for _ in 0..args.channels {
        let (tx, rx) = make();
        senders.push(tx);
        executor.spawn(wait(rx, idle.clone())).detach();
    }
    while executor.try_tick() {}
    let bytes = resident().saturating_sub(before) / args.channels as u64;
    let page = Page::open();

    let (senders, idle) = (&senders, &*idle);
    thread::scope(|scope| {
        scope.spawn(move || {
            args.place(1);
            let mut times = idle.run(args, Some(&page), |n, message| send(&senders[n], message));
            result(args.messages, &idle.meter.span(), &mut times, &[("bytes", bytes)]);
            exit(0);
        });
        args.place(0);
        block_on(executor.run(pending::<()>()));
    });
}
