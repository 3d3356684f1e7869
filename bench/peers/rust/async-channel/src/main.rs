// SPDX-License-Identifier: MIT
//! Peer `async-channel`: between threads by its blocking calls, between the tasks of a thread by its futures.

use async_channel::{bounded, unbounded, Receiver, Sender};
use peer::blocking::{self, Kind};
use peer::{fail, none, tasks, Args, Idle};
use std::sync::Arc;

struct AsyncChannel;

impl<T: Send + 'static> Kind<T> for AsyncChannel {
    type Tx = Sender<T>;
    type Rx = Receiver<T>;

    fn make(capacity: usize) -> (Sender<T>, Receiver<T>) {
        match capacity {
            0 => unbounded(),
            _ => bounded(capacity),
        }
    }

    fn send(tx: &Sender<T>, message: T) {
        tx.send_blocking(message).unwrap_or_else(|_| fail("the receiver is gone"))
    }

    fn try_send(tx: &Sender<T>, message: T) {
        tx.try_send(message).unwrap_or_else(|_| fail("there is no room"))
    }

    fn recv(rx: &Receiver<T>) -> Option<T> {
        rx.recv_blocking().ok()
    }

    fn try_recv(rx: &Receiver<T>) -> Option<T> {
        rx.try_recv().ok()
    }
}

async fn send(tx: &Sender<u64>, message: u64) {
    tx.send(message).await.unwrap_or_else(|_| fail("the receiver is gone"))
}

async fn expect(rx: &Receiver<u64>, message: u64) {
    if rx.recv().await != Ok(message) {
        fail("a message is missing, doubled or out of order");
    }
}

/// One of the two tasks of `pingpong` with `where=one`.
async fn end(tx: Sender<u64>, rx: Receiver<u64>, first: bool, rounds: u64) {
    for round in 0..rounds {
        if first {
            send(&tx, 2 * round).await;
            expect(&rx, 2 * round + 1).await;
        } else {
            expect(&rx, 2 * round).await;
            send(&tx, 2 * round + 1).await;
        }
    }
}

fn pingpong(args: &Args) {
    let (there, pings) = bounded(1);
    let (back, pongs) = bounded(1);

    if args.one {
        tasks::pingpong(args, |rounds| {
            [end(there.clone(), pongs.clone(), true, rounds), end(back.clone(), pings.clone(), false, rounds)]
        });
    } else {
        blocking::pingpong::<AsyncChannel>(args);
    }
}

/// The receiver of one channel of `idle`.
async fn wait(rx: Receiver<u64>, idle: Arc<Idle>) {
    while let Ok(message) = rx.recv().await {
        idle.take(message);
    }
}

fn main() {
    let args = Args::parse();

    match (args.peer.as_str(), args.case.as_str()) {
        ("async-channel", "stream") => blocking::stream::<AsyncChannel, AsyncChannel>(&args),
        ("async-channel", "pair") => blocking::pair::<AsyncChannel, AsyncChannel>(&args),
        ("async-channel", "pingpong") => pingpong(&args),
        ("async-channel", "request") => blocking::request::<AsyncChannel, AsyncChannel>(&args),
        ("async-channel", "broadcast") => blocking::broadcast::<AsyncChannel, AsyncChannel>(&args),
        ("async-channel", "idle") => tasks::idle(&args, || bounded(1), wait, AsyncChannel::try_send),
        _ => none("it has no such case"),
    }
}
