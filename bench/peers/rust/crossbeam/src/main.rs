// SPDX-License-Identifier: MIT
//! Peer `crossbeam`: crossbeam-channel.

use crossbeam_channel::{bounded, unbounded, Receiver, Select, Sender};
use peer::blocking::{self, Kind};
use peer::idle::Page;
use peer::{fail, none, resident, result, Args, Idle};
use std::thread;

/// Every wait goes over all channels that are selected.
const SELECT_MAX: usize = 10_000;

struct Crossbeam;

impl<T: Send + 'static> Kind<T> for Crossbeam {
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

/// The receiver's thread waits in a Select over all channels.
fn idle(args: &Args) {
    if args.channels > SELECT_MAX {
        none("a Select over so many channels is not what it is made for");
    }
    let before = resident();
    let (senders, receivers): (Vec<Sender<u64>>, Vec<Receiver<u64>>) = (0..args.channels).map(|_| bounded(1)).unzip();
    let mut select = Select::new();
    for rx in &receivers {
        select.recv(rx);
    }
    let bytes = resident().saturating_sub(before) / args.channels as u64;
    let idle = Idle::default();
    let page = Page::open();

    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            args.place(1);
            idle.run(args, Some(&page), |n, message| Crossbeam::try_send(&senders[n], message))
        });
        args.place(0);
        for _ in 0..args.messages {
            let operation = select.select();
            let rx = &receivers[operation.index()];
            idle.take(operation.recv(rx).unwrap_or_else(|_| fail("a message is missing")));
        }
        // As before every other message: the sender waits until this thread sleeps.
        let mut times = sender.join().unwrap_or_else(|_| fail("the sender failed"));
        result(args.messages, &idle.meter.span(), &mut times, &[("bytes", bytes)]);
    });
}

fn main() {
    let args = Args::parse();

    match (args.peer.as_str(), args.case.as_str()) {
        ("crossbeam", "stream") => blocking::stream::<Crossbeam, Crossbeam>(&args),
        ("crossbeam", "pair") => blocking::pair::<Crossbeam, Crossbeam>(&args),
        ("crossbeam", "pingpong") => blocking::pingpong::<Crossbeam>(&args),
        ("crossbeam", "request") => blocking::request::<Crossbeam, Crossbeam>(&args),
        ("crossbeam", "broadcast") => blocking::broadcast::<Crossbeam, Crossbeam>(&args),
        ("crossbeam", "idle") => idle(&args),
        _ => none("it has no such case"),
    }
}
