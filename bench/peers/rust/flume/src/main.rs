// SPDX-License-Identifier: MIT
//! Peer `flume`: between threads by its blocking calls, between the tasks of a thread by its futures.

use flume::{bounded, unbounded, Receiver, Sender};
use peer::blocking::{self, Kind};
use peer::{fail, none, tasks, Args, Idle};
use std::sync::Arc;

struct Flume;

impl<T: Send + 'static> Kind<T> for Flume {
    type Tx = Sender<T>;
    type Rx = Receiver<T>;

    fn make(capacity: usize) -> (Sender<T>, Receiver<T>) {
        match capacity {
            0 => unbounded(),
            _ => bounded(capacity),
        }
    }

    fn send(tx: &Sender<T>, message: T) {
        tx.send(message).unwrap_or_else(|_| fail("the receiver is gone"))
    }

    fn try_send(tx: &Sender<T>, message: T) {
        tx.try_send(message).unwrap_or_else(|_| fail("there is no room"))
    }

    fn recv(rx: &Receiver<T>) -> Option<T> {
        rx.recv().ok()
    }

    fn try_recv(rx: &Receiver<T>) -> Option<T> {
        rx.try_recv().ok()
    }
}

async fn send(tx: &Sender<u64>, message: u64) {
    tx.send_async(message).await.unwrap_or_else(|_| fail("the receiver is gone"))
}

async fn expect(rx: &Receiver<u64>, message: u64) {
    if rx.recv_async().await != Ok(message) {
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
        blocking::pingpong::<Flume>(args);
    }
}

/// The receiver of one channel of `idle`.
async fn wait(rx: Receiver<u64>, idle: Arc<Idle>) {
    while let Ok(message) = rx.recv_async().await {
        idle.take(message);
    }
}

fn main() {
    let args = Args::parse();

    match (args.peer.as_str(), args.case.as_str()) {
        ("flume", "stream") => blocking::stream::<Flume, Flume>(&args),
        ("flume", "pair") => blocking::pair::<Flume, Flume>(&args),
        ("flume", "pingpong") => pingpong(&args),
        ("flume", "request") => blocking::request::<Flume, Flume>(&args),
        ("flume", "broadcast") => blocking::broadcast::<Flume, Flume>(&args),
        ("flume", "idle") => tasks::idle(&args, || bounded(1), wait, Flume::try_send),
        _ => none("it has no such case"),
    }
}
