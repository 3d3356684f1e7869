// SPDX-License-Identifier: MIT
//! The cases of channels whose ends block their threads.

use crate::{by_size, fail, fill, now, result, Args, Check, Meter, Portions};
use std::collections::VecDeque;
use std::ops::Range;
use std::thread;

/// Channels of messages of one type.
pub trait Kind<T> {
    type Tx: Clone + Send + 'static;
    type Rx: Send + 'static;

    /// A channel for so many messages; 0: without a bound.
    fn make(capacity: usize) -> (Self::Tx, Self::Rx);
    /// Wait until there is room. Fail if the receiver is gone.
    fn send(tx: &Self::Tx, message: T);
    /// Fail if there is no room.
    fn try_send(tx: &Self::Tx, message: T);
    /// Wait for a message. None: there are no senders.
    fn recv(rx: &Self::Rx) -> Option<T>;
    fn try_recv(rx: &Self::Rx) -> Option<T>;
}

/// A kind for every size of a message.
pub trait Sizes: Kind<[u64; 1]> + Kind<[u64; 8]> + Kind<[u64; 32]> + Kind<[u64; 128]> + Kind<[u64; 512]> {}
impl<K> Sizes for K where K: Kind<[u64; 1]> + Kind<[u64; 8]> + Kind<[u64; 32]> + Kind<[u64; 128]> + Kind<[u64; 512]> {}

fn expect<T>(message: Option<T>) -> T {
    message.unwrap_or_else(|| fail("a message is missing"))
}

/// `stream`, by one kind without a bound and one with.
pub fn stream<U: Sizes, B: Sizes>(args: &Args) {
    by_size!(args.size, N => match args.capacity {
        0 => stream_of::<U, N>(args),
        _ => stream_of::<B, N>(args),
    })
}

fn stream_of<K: Kind<[u64; N]>, const N: usize>(args: &Args) {
    let (tx, rx) = K::make(args.capacity);

    phase::<K, N>(&args.free(), &tx, &rx, args.messages / 5);
    let meter = phase::<K, N>(args, &tx, &rx, args.messages);
    drop(tx);
    if K::recv(&rx).is_some() {
        fail("a message too many");
    }
    result(args.messages, &meter.span(), &mut [], &[]);
}

fn phase<K: Kind<[u64; N]>, const N: usize>(args: &Args, tx: &K::Tx, rx: &K::Rx, total: u64) -> Meter {
    let portions = Portions::new(total);
    let meter = Meter::new();
    let mut check = Check::new(args.producers);

    thread::scope(|scope| {
        for producer in 0..args.producers {
            let (tx, portions, meter) = (tx.clone(), &portions, &meter);
            scope.spawn(move || {
                args.place(producer + 1);
                produce::<K, N>(&tx, producer, portions, meter)
            });
        }
        args.place(0);
        for _ in 0..total {
            check.take(&expect(K::recv(rx)));
        }
        meter.stop();
    });
    meter
}

fn produce<K: Kind<[u64; N]>, const N: usize>(tx: &K::Tx, producer: usize, portions: &Portions, meter: &Meter) {
    let mut message = [0; N];
    let mut place = 0;

    meter.start();
    loop {
        let portion = portions.take();
        if portion == 0 {
            return;
        }
        for _ in 0..portion {
            fill(&mut message, producer, place);
            K::send(tx, message);
            place += 1;
        }
    }
}

/// `pair`, as `stream`.
pub fn pair<U: Sizes, B: Sizes>(args: &Args) {
    by_size!(args.size, N => match args.capacity {
        0 => pair_of::<U, N>(args),
        _ => pair_of::<B, N>(args),
    })
}

fn pair_of<K: Kind<[u64; N]>, const N: usize>(args: &Args) {
    let (tx, rx) = K::make(args.capacity);
    let meter = Meter::new();
    let mut check = Check::new(1);
    let mut message = [0; N];

    meter.start();
    for n in 0..args.messages {
        fill(&mut message, 0, n);
        K::try_send(&tx, message);
        check.take(&expect(K::try_recv(&rx)));
    }
    meter.stop();
    result(args.messages, &meter.span(), &mut [], &[]);
}

/// `pingpong` between two threads, by channels for one message each.
pub fn pingpong<K: Kind<u64>>(args: &Args) {
    if args.one {
        crate::none("it has no tasks, and a thread cannot wait for itself");
    }
    let (there, pings) = K::make(1);
    let (back, pongs) = K::make(1);
    let warm = args.messages / 10;
    let total = warm + args.messages;
    let meter = Meter::new();
    let mut times = Vec::with_capacity(args.messages as usize);

    thread::scope(|scope| {
        scope.spawn(move || echo::<K>(args, &pings, &back, warm, total));
        for round in 0..total {
            if round == warm {
                args.place(0);
                meter.start();
            }
            let from = now();
            K::send(&there, 2 * round);
            if expect(K::recv(&pongs)) != 2 * round + 1 {
                fail("a message is missing, doubled or out of order");
            }
            if round >= warm {
                times.push(now() - from);
            }
        }
        meter.stop();
    });
    result(args.messages, &meter.span(), &mut times, &[]);
}

fn echo<K: Kind<u64>>(args: &Args, pings: &K::Rx, back: &K::Tx, warm: u64, total: u64) {
    for round in 0..total {
        if round == warm {
            args.place(1);
        }
        let ping = expect(K::recv(pings));
        if ping != 2 * round {
            fail("a message is missing, doubled or out of order");
        }
        K::send(back, ping + 1);
    }
}

pub struct Request<R> {
    number: u64,
    reply: R,
}

type ReplyTx<R> = <R as Kind<u64>>::Tx;

/// `request`: requests through `K`, each with a channel of kind `R` of its own for the reply.
pub fn request<K: Kind<Request<ReplyTx<R>>>, R: Kind<u64>>(args: &Args) {
    let (tx, rx) = K::make(1024);
    let warm = args.messages / 10;
    let total = warm + args.messages;
    let meter = Meter::new();
    let mut times = Vec::new();

    thread::scope(|scope| {
        scope.spawn(move || act::<K, R>(args, &rx, warm));
        ask::<K, R>(args, &tx, 0..warm);
        args.place(0);
        meter.start();
        times = ask::<K, R>(args, &tx, warm..total);
        meter.stop();
        drop(tx);
    });
    result(args.messages, &meter.span(), &mut times, &[]);
}

fn act<K: Kind<Request<ReplyTx<R>>>, R: Kind<u64>>(args: &Args, requests: &K::Rx, warm: u64) {
    let mut next = 0;

    while let Some(request) = K::recv(requests) {
        if request.number != next {
            fail("a request is missing, doubled or out of order");
        }
        next += 1;
        R::send(&request.reply, request.number + 1);
        if next == warm {
            args.place(1);
        }
    }
}

/// Returns the times if one request is on its way at a time. The replies come in order, so that the oldest is waited for.
fn ask<K: Kind<Request<ReplyTx<R>>>, R: Kind<u64>>(args: &Args, tx: &K::Tx, numbers: Range<u64>) -> Vec<u64> {
    let mut waiting: VecDeque<R::Rx> = VecDeque::with_capacity(args.outstanding);
    let mut times = Vec::new();
    let mut oldest = numbers.start;
    let last = numbers.end;
    let mut from = now();

    for number in numbers {
        let (reply, answer) = R::make(1);
        K::send(tx, Request { number, reply });
        waiting.push_back(answer);
        while waiting.len() == args.outstanding || (number + 1 == last && !waiting.is_empty()) {
            answered::<R>(waiting.pop_front(), oldest);
            oldest += 1;
        }
        if args.outstanding == 1 {
            let at = now();
            times.push(at - from);
            from = at;
        }
    }
    times
}

fn answered<R: Kind<u64>>(answer: Option<R::Rx>, number: u64) {
    if expect(R::recv(&expect(answer))) != number + 1 {
        fail("a reply is not that of its request");
    }
}

/// `broadcast`, by a channel for each receiver. A thread takes one message from each of its receivers in turn.
pub fn broadcast<U: Kind<u64>, B: Kind<u64>>(args: &Args) {
    match args.capacity {
        0 => broadcast_of::<U>(args),
        _ => broadcast_of::<B>(args),
    }
}

fn broadcast_of<K: Kind<u64>>(args: &Args) {
    let threads = args.receivers.min(2);
    let mut senders = Vec::new();
    let mut groups: Vec<Vec<K::Rx>> = (0..threads).map(|_| Vec::new()).collect();
    let rounds = (args.messages / args.receivers as u64).max(1);

    for n in 0..args.receivers {
        let (tx, rx) = K::make(args.capacity);
        senders.push(tx);
        groups[n % threads].push(rx);
    }
    spread::<K>(&args.free(), &mut senders, &mut groups, rounds / 5);
    let meter = spread::<K>(args, &mut senders, &mut groups, rounds);
    drop(senders);
    if groups.iter().flatten().any(|rx| K::recv(rx).is_some()) {
        fail("a message too many");
    }
    result(rounds * args.receivers as u64, &meter.span(), &mut [], &[]);
}

fn spread<K: Kind<u64>>(args: &Args, senders: &mut [K::Tx], groups: &mut [Vec<K::Rx>], rounds: u64) -> Meter {
    let meter = Meter::new();
    let threads = groups.len();

    thread::scope(|scope| {
        for (n, group) in groups.iter_mut().enumerate() {
            let meter = &meter;
            scope.spawn(move || {
                args.place(n);
                gather::<K>(group, rounds);
                meter.stop();
            });
        }
        let meter = &meter;
        scope.spawn(move || {
            args.place(threads);
            meter.start();
            for round in 0..rounds {
                for tx in &*senders {
                    K::send(tx, round);
                }
            }
        });
    });
    meter
}

fn gather<K: Kind<u64>>(group: &mut [K::Rx], rounds: u64) {
    for round in 0..rounds {
        for rx in &*group {
            if expect(K::recv(rx)) != round {
                fail("a message is missing, doubled or out of order");
            }
        }
    }
}
