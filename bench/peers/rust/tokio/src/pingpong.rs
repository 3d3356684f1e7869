// SPDX-License-Identifier: MIT
//! `pingpong`, by channels for one message each.

use crate::home::{own, Home};
use peer::{fail, none, now, result, Args, Meter};
use tokio::sync::mpsc::{channel, Receiver, Sender};

pub fn run(home: &Home) {
    match home.args.one {
        true => one(home),
        false => threads(home),
    }
}

async fn send(tx: &Sender<u64>, message: u64) {
    tx.send(message).await.unwrap_or_else(|_| fail("the receiver is gone"))
}

async fn expect(rx: &mut Receiver<u64>, message: u64) {
    if rx.recv().await != Some(message) {
        fail("a message is missing, doubled or out of order");
    }
}

fn threads(home: &Home) {
    let (there, pings) = channel(1);
    let (back, pongs) = channel(1);
    let args = home.args;
    let warm = args.messages / 10;

    let ping = home.start(ping(args, there, pongs, warm));
    let pong = home.start(pong(args, back, pings, warm));
    let (meter, mut times) = home.join(ping);
    home.join(pong);
    result(args.messages, &meter.span(), &mut times, &[]);
}

async fn ping(args: &Args, tx: Sender<u64>, mut rx: Receiver<u64>, warm: u64) -> (Meter, Vec<u64>) {
    let meter = Meter::new();
    let mut times = Vec::with_capacity(args.messages as usize);

    for round in 0..warm + args.messages {
        if round == warm {
            args.place(0);
            meter.start();
        }
        let from = now();
        send(&tx, 2 * round).await;
        expect(&mut rx, 2 * round + 1).await;
        if round >= warm {
            times.push(now() - from);
        }
    }
    meter.stop();
    (meter, times)
}

async fn pong(args: &Args, tx: Sender<u64>, mut rx: Receiver<u64>, warm: u64) {
    for round in 0..warm + args.messages {
        if round == warm {
            args.place(1);
        }
        expect(&mut rx, 2 * round).await;
        send(&tx, 2 * round + 1).await;
    }
}

/// Two tasks of one current_thread runtime.
fn one(home: &Home) {
    if home.is_shared() {
        none("its tasks are not bound to a thread");
    }
    let rounds = (home.args.messages / 2).max(1);
    let warm = rounds / 10;

    let span = own().block_on(async {
        let (there, pings) = channel(1);
        let (back, pongs) = channel(1);
        let first = tokio::spawn(first(there, pongs, warm, warm + rounds));
        let second = tokio::spawn(second(back, pings, warm + rounds));
        second.await.unwrap_or_else(|_| fail("a task failed"));
        first.await.unwrap_or_else(|_| fail("a task failed")).span()
    });
    result(2 * rounds, &span, &mut [], &[]);
}

async fn first(tx: Sender<u64>, mut rx: Receiver<u64>, warm: u64, total: u64) -> Meter {
    let meter = Meter::new();

    for round in 0..total {
        if round == warm {
            meter.start();
        }
        send(&tx, 2 * round).await;
        expect(&mut rx, 2 * round + 1).await;
    }
    meter.stop();
    meter
}

async fn second(tx: Sender<u64>, mut rx: Receiver<u64>, total: u64) {
    for round in 0..total {
        expect(&mut rx, 2 * round).await;
        send(&tx, 2 * round + 1).await;
    }
}
