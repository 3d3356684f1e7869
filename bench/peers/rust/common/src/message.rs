// SPDX-License-Identifier: MIT
//! The messages of `stream` and `pair`, and their check.

use crate::fail;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const ID_SHIFT: u32 = 56;
const PLACE_MASK: u64 = (1 << ID_SHIFT) - 1;
const PORTION: u64 = 4096;

/// Write the message of a producer. Words in the middle stay.
#[inline]
pub fn fill<const N: usize>(message: &mut [u64; N], producer: usize, place: u64) {
    message[0] = (producer as u64) << ID_SHIFT | place;
    if N > 1 {
        message[N - 1] = !message[0];
    }
}

/// The receiver's check: place of the next message from each producer.
pub struct Check {
    next: Vec<u64>,
}

impl Check {
    pub fn new(producers: usize) -> Check {
        Check { next: vec![0; producers] }
    }

    /// Fail unless it is the next message of its producer.
    #[inline]
    pub fn take<const N: usize>(&mut self, message: &[u64; N]) {
        let id = (message[0] >> ID_SHIFT) as usize;
        if id >= self.next.len() || message[0] & PLACE_MASK != self.next[id] {
            fail("a message is missing, doubled or out of order");
        }
        if N > 1 && message[N - 1] != !message[0] {
            fail("a message has changed on its way");
        }
        self.next[id] += 1;
    }
}

/// What the producers share out among them.
pub struct Portions {
    next: AtomicU64,
    total: u64,
}

impl Portions {
    pub fn new(total: u64) -> Portions {
        Portions { next: AtomicU64::new(0), total }
    }

    /// How many messages the caller is to send now; 0: it is done. Relaxed: only the numbers count.
    pub fn take(&self) -> u64 {
        let from = self.next.fetch_add(PORTION, Relaxed);
        PORTION.min(self.total.saturating_sub(from))
    }
}
