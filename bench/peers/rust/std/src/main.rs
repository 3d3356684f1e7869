// SPDX-License-Identifier: MIT
//! Peer `std`: std::sync::mpsc.

use peer::blocking::{self, Kind};
use peer::{fail, none, Args};
use std::sync::mpsc::{channel, sync_channel, Receiver, Sender, SyncSender};

struct Unbounded;
struct Bounded;

impl<T: Send + 'static> Kind<T> for Unbounded {
    type Tx = Sender<T>;
    type Rx = Receiver<T>;

    fn make(_: usize) -> (Sender<T>, Receiver<T>) {
        channel()
    }

    fn send(tx: &Sender<T>, message: T) {
        tx.send(message).unwrap_or_else(|_| fail("the receiver is gone"))
    }

    fn try_send(tx: &Sender<T>, message: T) {
        tx.send(message).unwrap_or_else(|_| fail("the receiver is gone"))
    }

    fn recv(rx: &Receiver<T>) -> Option<T> {
        rx.recv().ok()
    }

    fn try_recv(rx: &Receiver<T>) -> Option<T> {
        rx.try_recv().ok()
    }
}

impl<T: Send + 'static> Kind<T> for Bounded {
    type Tx = SyncSender<T>;
    type Rx = Receiver<T>;

    fn make(capacity: usize) -> (SyncSender<T>, Receiver<T>) {
        sync_channel(capacity)
    }

    fn send(tx: &SyncSender<T>, message: T) {
        tx.send(message).unwrap_or_else(|_| fail("the receiver is gone"))
    }

    fn try_send(tx: &SyncSender<T>, message: T) {
        tx.try_send(message).unwrap_or_else(|_| fail("there is no room"))
    }

    fn recv(rx: &Receiver<T>) -> Option<T> {
        rx.recv().ok()
    }

    fn try_recv(rx: &Receiver<T>) -> Option<T> {
        rx.try_recv().ok()
    }
}

fn main() {
    let args = Args::parse();

    match (args.peer.as_str(), args.case.as_str()) {
        ("std", "stream") => blocking::stream::<Unbounded, Bounded>(&args),
        ("std", "pair") => blocking::pair::<Unbounded, Bounded>(&args),
        ("std", "pingpong") => blocking::pingpong::<Bounded>(&args),
        // A channel() for the reply: before Rust 1.67 it began as one for a single message.
        ("std", "request") => blocking::request::<Bounded, Unbounded>(&args),
        ("std", "broadcast") => blocking::broadcast::<Unbounded, Bounded>(&args),
        _ => none("it has no such case"),
    }
}
