// SPDX-License-Identifier: MIT
//! `watch`.

use crate::home::Home;
use peer::{fail, result, Meter};
use std::sync::Arc;
use tokio::sync::watch::{channel, Receiver};
use tokio::task::yield_now;

/// So many changes without a wait, as in a portion of `stream`.
const TURN: u64 = 4096;

pub fn run(home: &Home) {
    match home.args.read {
        true => read(home),
        false => send(home),
    }
}

fn read(home: &Home) {
    const VALUE: u64 = 7;
    let args = home.args;
    let (_tx, rx) = channel(VALUE);

    let part = home.start(async move {
        let meter = Meter::new();
        let mut sum = 0;
        args.place(0);
        meter.start();
        for _ in 0..args.messages {
            sum += *rx.borrow();
        }
        meter.stop();
        (meter, sum)
    });
    let (meter, sum) = home.join(part);
    if sum != VALUE * args.messages {
        fail("a value was not the one that was sent");
    }
    result(args.messages, &meter.span(), &mut [], &[]);
}

fn send(home: &Home) {
    let args = home.args;
    let (tx, rx) = channel(0);
    let meter = Arc::new(Meter::new());

    let receiver = home.start(async move {
        args.place(0);
        follow(rx, args.messages).await
    });
    let span = meter.clone();
    let sender = home.start(async move {
        args.place(1);
        meter.start();
        for value in 1..=args.messages {
            tx.send(value).unwrap_or_else(|_| fail("the receiver is gone"));
            // Else a receiver that runs next on this thread, and cannot be taken over by another one, would never run.
            if value % TURN == 0 {
                yield_now().await;
            }
        }
        meter.stop();
    });
    home.join(sender);
    let found = home.join(receiver);
    result(args.messages, &span.span(), &mut [], &[("found", found)]);
}

/// Returns how many values it has seen. The sender is gone after the last one.
async fn follow(mut rx: Receiver<u64>, last: u64) -> u64 {
    let mut seen = 0;
    let mut found = 0;

    while rx.changed().await.is_ok() {
        let value = *rx.borrow_and_update();
        if value <= seen {
            fail("a value was older than the one before, or the same");
        }
        seen = value;
        found += 1;
    }
    if seen != last {
        fail("the last value did not come");
    }
    found
}
