// SPDX-License-Identifier: MIT
//! `broadcast`. The channel drops the oldest message for a receiver that lags, so the sender must not be ahead of the slowest by
//! more than the capacity. The receivers tell it how far they are, a quarter of the capacity at a time, so that the telling costs
//! next to nothing and the sender need not stop while they keep up.

use crate::home::Home;
use peer::{fail, none, result, Args, Meter};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use tokio::sync::broadcast::{channel, Receiver, Sender};
use tokio::sync::Notify;

struct Window {
    capacity: u64,
    step: u64,
    receivers: usize,
    /// How many receivers have had all of a step, in a ring. At most the steps of the capacity and one more are under way.
    passed: [AtomicUsize; 16],
    /// What every receiver has had.
    done: AtomicU64,
    notify: Notify,
}

impl Window {
    fn new(args: &Args) -> Window {
        let capacity = args.capacity as u64;
        Window {
            capacity,
            step: (capacity / 4).max(1),
            receivers: args.receivers,
            passed: Default::default(),
            done: AtomicU64::new(0),
            notify: Notify::new(),
        }
    }

    /// A receiver has had so many messages. Whoever ends a step comes to the next one only after it has stored this one, so that
    /// `done` never goes back.
    fn received(&self, count: u64) {
        if count % self.step != 0 {
            return;
        }
        let passed = &self.passed[(count / self.step) as usize % self.passed.len()];
        if passed.fetch_add(1, Ordering::AcqRel) + 1 == self.receivers {
            passed.store(0, Ordering::Relaxed);
            self.done.store(count, Ordering::Release);
            self.notify.notify_one();
        }
    }

    /// Wait until message `number` fits in. Returns the first that may not.
    async fn room(&self, number: u64) -> u64 {
        loop {
            let end = self.done.load(Ordering::Acquire) + self.capacity;
            if number < end {
                return end;
            }
            self.notify.notified().await;
        }
    }
}

struct Phase {
    args: Args,
    rounds: u64,
    window: Window,
    meter: Meter,
}

pub fn run(home: &Home) {
    let args = home.args;
    if args.capacity == 0 {
        none("its broadcast channels are bounded");
    }
    let rounds = (args.messages / args.receivers as u64).max(1);
    let (tx, rx) = channel(args.capacity);
    let groups = args.receivers.min(2);
    let mut receivers: Vec<Vec<Receiver<u64>>> = (0..groups).map(|_| Vec::new()).collect();

    for n in 0..args.receivers {
        receivers[n % groups].push(tx.subscribe());
    }
    drop(rx);
    let (tx, receivers, _) = spread(home, args.free(), rounds / 5, tx, receivers);
    let (_, _, phase) = spread(home, args.clone(), rounds, tx, receivers);
    result(rounds * args.receivers as u64, &phase.meter.span(), &mut [], &[]);
}

type Ends = (Sender<u64>, Vec<Vec<Receiver<u64>>>, Arc<Phase>);

fn spread(home: &Home, args: Args, rounds: u64, tx: Sender<u64>, receivers: Vec<Vec<Receiver<u64>>>) -> Ends {
    let window = Window::new(&args);
    let phase = Arc::new(Phase { args, rounds, window, meter: Meter::new() });
    let groups = receivers.len();
    let parts: Vec<_> = receivers.into_iter().enumerate().map(|(n, group)| home.start(gather(n, group, phase.clone()))).collect();
    let sender = home.start(send(groups, tx, phase.clone()));
    let tx = home.join(sender);
    let receivers = parts.into_iter().map(|part| home.join(part)).collect();
    (tx, receivers, phase)
}

async fn send(place: usize, tx: Sender<u64>, phase: Arc<Phase>) -> Sender<u64> {
    let mut end = 0;

    phase.args.place(place);
    phase.meter.start();
    for number in 0..phase.rounds {
        if number >= end {
            end = phase.window.room(number).await;
        }
        tx.send(number).unwrap_or_else(|_| fail("the receivers are gone"));
    }
    tx
}

/// A task for each receiver of a thread.
async fn gather(place: usize, group: Vec<Receiver<u64>>, phase: Arc<Phase>) -> Vec<Receiver<u64>> {
    let mut receivers = Vec::with_capacity(group.len());

    phase.args.place(place);
    let tasks: Vec<_> = group.into_iter().map(|rx| tokio::spawn(receive(rx, phase.clone()))).collect();
    for task in tasks {
        receivers.push(task.await.unwrap_or_else(|_| fail("a task failed")));
    }
    phase.meter.stop();
    receivers
}

async fn receive(mut rx: Receiver<u64>, phase: Arc<Phase>) -> Receiver<u64> {
    for number in 0..phase.rounds {
        if rx.recv().await != Ok(number) {
            fail("a message is missing, doubled or out of order");
        }
        phase.window.received(number + 1);
    }
    rx
}
