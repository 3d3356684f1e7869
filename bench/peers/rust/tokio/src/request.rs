// SPDX-License-Identifier: MIT
//! `request`: mpsc for the requests, a oneshot for each reply.

use crate::home::Home;
use peer::{fail, now, result, Args, Meter};
use std::collections::VecDeque;
use std::ops::Range;
use tokio::sync::{mpsc, oneshot};

struct Request {
    number: u64,
    reply: oneshot::Sender<u64>,
}

pub fn run(home: &Home) {
    let (tx, rx) = mpsc::channel(1024);
    let args = home.args;
    let warm = args.messages / 10;

    let actor = home.start(act(args, rx, warm));
    let asker = home.start(async move {
        let meter = Meter::new();
        ask(args, &tx, 0..warm).await;
        args.place(0);
        meter.start();
        let times = ask(args, &tx, warm..warm + args.messages).await;
        meter.stop();
        (meter, times)
    });
    let (meter, mut times) = home.join(asker);
    home.join(actor);
    result(args.messages, &meter.span(), &mut times, &[]);
}

async fn act(args: &Args, mut rx: mpsc::Receiver<Request>, warm: u64) {
    let mut next = 0;

    while let Some(request) = rx.recv().await {
        if request.number != next {
            fail("a request is missing, doubled or out of order");
        }
        next += 1;
        request.reply.send(request.number + 1).unwrap_or_else(|_| fail("the asker is gone"));
        if next == warm {
            args.place(1);
        }
    }
}

/// Returns the times if one request is on its way at a time. The replies come in order, so that the oldest is waited for.
async fn ask(args: &Args, tx: &mpsc::Sender<Request>, numbers: Range<u64>) -> Vec<u64> {
    let mut waiting = VecDeque::with_capacity(args.outstanding);
    let mut times = Vec::new();
    let mut oldest = numbers.start;
    let last = numbers.end;
    let mut from = now();

    for number in numbers {
        let (reply, answer) = oneshot::channel();
        tx.send(Request { number, reply }).await.unwrap_or_else(|_| fail("the actor is gone"));
        waiting.push_back(answer);
        while waiting.len() == args.outstanding || (number + 1 == last && !waiting.is_empty()) {
            answered(waiting.pop_front(), oldest).await;
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

async fn answered(answer: Option<oneshot::Receiver<u64>>, number: u64) {
    let answer = answer.unwrap_or_else(|| fail("a reply is missing"));
    if answer.await != Ok(number + 1) {
        fail("a reply is not that of its request");
    }
}
