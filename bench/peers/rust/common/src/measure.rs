// SPDX-License-Identifier: MIT
//! Clocks, the measured part, the result.

use crate::fail;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Once;

fn clock(id: libc::clockid_t) -> u64 {
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(id, &mut at) };
    at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64
}

/// Wall clock in nanoseconds.
pub fn now() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// Processor time of the process in nanoseconds.
fn cpu() -> u64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// A measured part, from the first start() to the last stop(), which any thread may call. Whoever calls stop() or span() has heard
/// of the start by a message, so that relaxed operations do.
pub struct Meter {
    once: Once,
    wall: AtomicU64,
    cpu: AtomicU64,
    wall_end: AtomicU64,
    cpu_end: AtomicU64,
}

pub struct Span {
    pub wall: u64,
    pub cpu: u64,
}

impl Meter {
    pub const fn new() -> Meter {
        Meter {
            once: Once::new(),
            wall: AtomicU64::new(0),
            cpu: AtomicU64::new(0),
            wall_end: AtomicU64::new(0),
            cpu_end: AtomicU64::new(0),
        }
    }

    pub fn start(&self) {
        self.once.call_once(|| {
            self.cpu.store(cpu(), Relaxed);
            self.wall.store(now(), Relaxed);
        });
    }

    pub fn stop(&self) {
        self.wall_end.fetch_max(now(), Relaxed);
        self.cpu_end.fetch_max(cpu(), Relaxed);
    }

    pub fn span(&self) -> Span {
        Span {
            wall: self.wall_end.load(Relaxed) - self.wall.load(Relaxed),
            cpu: self.cpu_end.load(Relaxed) - self.cpu.load(Relaxed),
        }
    }
}

impl Default for Meter {
    fn default() -> Meter {
        Meter::new()
    }
}

/// The line. p50 and p99 if there are times; more keys.
pub fn result(messages: u64, span: &Span, times: &mut [u64], more: &[(&str, u64)]) {
    let mut line = format!("messages={} wall_ns={} cpu_ns={}", messages, span.wall, span.cpu);
    if !times.is_empty() {
        let n = times.len();
        times.sort_unstable();
        let _ = write!(line, " p50_ns={} p99_ns={}", times[n / 2], times[n * 99 / 100]);
    }
    for (key, value) in more {
        let _ = write!(line, " {}={}", key, value);
    }
    println!("{}", line);
}

/// Bytes of memory that the process has in use.
pub fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok())
        .unwrap_or_else(|| fail("cannot read /proc/self/statm"));
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}
