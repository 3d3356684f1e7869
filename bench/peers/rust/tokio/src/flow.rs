// SPDX-License-Identifier: MIT
//! `stream` and `pair`. Channels with and without a bound have types of their own, so that both ends are here twice.

use crate::home::Home;
use peer::{by_size, fail, fill, result, Args, Check, Meter, Portions};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::mpsc::{channel, unbounded_channel, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::task::yield_now;

/// What the parts of a phase have in common.
struct Phase {
    args: Args,
    total: u64,
    /// No sender is left after it.
    last: bool,
    portions: Portions,
    meter: Meter,
}

pub fn stream(home: &Home) {
    by_size!(home.args.size, N => match home.args.capacity {
        0 => {
            let (tx, rx) = unbounded_channel::<[u64; N]>();
            both_phases(home, tx, rx, produce_unbounded, receive_unbounded)
        }
        capacity => {
            let (tx, rx) = channel::<[u64; N]>(capacity);
            both_phases(home, tx, rx, produce, receive)
        }
    })
}

fn both_phases<T, R, P, Q>(
    home: &Home,
    tx: T,
    rx: R,
    produce: impl Fn(T, usize, Arc<Phase>) -> P,
    receive: impl Fn(R, Arc<Phase>) -> Q,
) where
    T: Clone,
    P: Future<Output = ()> + Send + 'static,
    Q: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let run = |args: Args, total, last, tx: T, rx| {
        let phase = Arc::new(Phase { args, total, last, portions: Portions::new(total), meter: Meter::new() });
        let receiver = home.start(receive(rx, phase.clone()));
        let producers: Vec<_> = (0..phase.args.producers).map(|n| home.start(produce(tx.clone(), n, phase.clone()))).collect();
        drop(tx);
        for part in producers {
            home.join(part);
        }
        (home.join(receiver), phase)
    };
    let messages = home.args.messages;
    let (rx, _) = run(home.args.free(), messages / 5, false, tx.clone(), rx);
    let (_, phase) = run(home.args.clone(), messages, true, tx, rx);
    result(messages, &phase.meter.span(), &mut [], &[]);
}

async fn produce<const N: usize>(tx: Sender<[u64; N]>, producer: usize, phase: Arc<Phase>) {
    let mut message = [0; N];
    let mut place = 0;

    phase.args.place(producer + 1);
    phase.meter.start();
    loop {
        let portion = phase.portions.take();
        if portion == 0 {
            return;
        }
        for _ in 0..portion {
            fill(&mut message, producer, place);
            tx.send(message).await.unwrap_or_else(|_| fail("the receiver is gone"));
            place += 1;
        }
    }
}

async fn receive<const N: usize>(mut rx: Receiver<[u64; N]>, phase: Arc<Phase>) -> Receiver<[u64; N]> {
    let mut check = Check::new(phase.args.producers);

    phase.args.place(0);
    for _ in 0..phase.total {
        match rx.recv().await {
            Some(message) => check.take(&message),
            None => fail("a message is missing"),
        }
    }
    phase.meter.stop();
    if phase.last && rx.recv().await.is_some() {
        fail("a message too many");
    }
    rx
}

async fn produce_unbounded<const N: usize>(tx: UnboundedSender<[u64; N]>, producer: usize, phase: Arc<Phase>) {
    let mut message = [0; N];
    let mut place = 0;

    phase.args.place(producer + 1);
    phase.meter.start();
    loop {
        let portion = phase.portions.take();
        if portion == 0 {
            return;
        }
        for _ in 0..portion {
            fill(&mut message, producer, place);
            tx.send(message).unwrap_or_else(|_| fail("the receiver is gone"));
            place += 1;
        }
        // A send that never waits never lets another task have the thread either.
        yield_now().await;
    }
}

async fn receive_unbounded<const N: usize>(
    mut rx: UnboundedReceiver<[u64; N]>,
    phase: Arc<Phase>,
) -> UnboundedReceiver<[u64; N]> {
    let mut check = Check::new(phase.args.producers);

    phase.args.place(0);
    for _ in 0..phase.total {
        match rx.recv().await {
            Some(message) => check.take(&message),
            None => fail("a message is missing"),
        }
    }
    phase.meter.stop();
    if phase.last && rx.recv().await.is_some() {
        fail("a message too many");
    }
    rx
}

pub fn pair(home: &Home) {
    by_size!(home.args.size, N => match home.args.capacity {
        0 => {
            let (tx, mut rx) = unbounded_channel::<[u64; N]>();
            turns(home, move |message| tx.send(message).is_ok().then(|| rx.try_recv().ok()).flatten())
        }
        capacity => {
            let (tx, mut rx) = channel::<[u64; N]>(capacity);
            turns(home, move |message| tx.try_send(message).is_ok().then(|| rx.try_recv().ok()).flatten())
        }
    })
}

/// `pass` sends a message and receives one.
fn turns<const N: usize>(home: &Home, mut pass: impl FnMut([u64; N]) -> Option<[u64; N]> + Send + 'static) {
    let messages = home.args.messages;
    let part = home.start(async move {
        let meter = Meter::new();
        let mut check = Check::new(1);
        let mut message = [0; N];

        meter.start();
        for n in 0..messages {
            fill(&mut message, 0, n);
            check.take(&pass(message).unwrap_or_else(|| fail("a message is missing")));
        }
        meter.stop();
        meter.span()
    });
    result(messages, &home.join(part), &mut [], &[]);
}
