// SPDX-License-Identifier: MIT
//! `idle`: what its sender does, and what the receivers tell it.

use crate::{fail, now, Args, Meter};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

const LOOK: Duration = Duration::from_micros(20);
const REST: Duration = Duration::from_micros(200);

#[derive(Default)]
pub struct Idle {
    at: AtomicU64,
    received: AtomicU64,
    pub meter: Meter,
}

impl Idle {
    /// A receiver: here is the message.
    pub fn take(&self, message: u64) {
        self.at.store(now(), Ordering::Relaxed);
        if message != self.received.load(Ordering::Relaxed) {
            fail("a message is missing or doubled");
        }
        self.received.store(message + 1, Ordering::Release);
    }

    /// The sender: `send` puts message `1.` into channel `0.`. Returns the times. Without a page it waits instead of looking.
    pub fn run(&self, args: &Args, page: Option<&Page>, mut send: impl FnMut(usize, u64)) -> Vec<u64> {
        let mut times = Vec::with_capacity(args.messages as usize);
        let mut state = 0;

        rest(page);
        self.meter.start();
        for n in 0..args.messages {
            let channel = random(&mut state) as usize % args.channels;
            let from = now();
            send(channel, n);
            while self.received.load(Ordering::Acquire) != n + 1 {
                sleep(LOOK);
            }
            times.push(self.at.load(Ordering::Relaxed) - from);
            rest(page);
        }
        self.meter.stop();
        times
    }
}

fn rest(page: Option<&Page>) {
    match page {
        Some(page) => {
            while !page.sleeps() {
                sleep(LOOK);
            }
        }
        None => sleep(REST),
    }
}

/// The next of a fixed row of pseudo-random numbers.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The kernel's page about a thread.
pub struct Page(File);

impl Page {
    /// Of the calling thread.
    pub fn open() -> Page {
        let path = format!("/proc/self/task/{}/stat", unsafe { libc::syscall(libc::SYS_gettid) });
        match File::open(&path) {
            Ok(file) => Page(file),
            Err(_) => fail(&format!("cannot open {}", path)),
        }
    }

    /// The letter after the name in brackets.
    fn sleeps(&self) -> bool {
        let mut line = [0; 128];
        let n = self.0.read_at(&mut line, 0).unwrap_or(0);
        let end = line[..n].iter().rposition(|&c| c == b')').unwrap_or(n);
        line[end..n].starts_with(b") S")
    }
}
