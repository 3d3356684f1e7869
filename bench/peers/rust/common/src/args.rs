// SPDX-License-Identifier: MIT
//! The arguments of a program, and where its threads run.

use crate::{fail, leave};
use std::mem;

const CASES: [(&str, &[&str]); 7] = [
    ("stream", &["capacity", "size", "producers", "messages", "place"]),
    ("pingpong", &["where", "messages", "place"]),
    ("request", &["outstanding", "messages", "place"]),
    ("broadcast", &["receivers", "capacity", "messages", "place"]),
    ("watch", &["op", "messages", "place"]),
    ("idle", &["channels", "messages", "place"]),
    ("pair", &["capacity", "size", "messages"]),
];
const PRODUCERS_MAX: usize = 64;
const SIZE_MAX: usize = 4096;

#[derive(Clone)]
pub struct Args {
    pub peer: String,
    pub case: String,
    pub messages: u64,
    /// 0: no bound.
    pub capacity: usize,
    pub size: usize,
    pub producers: usize,
    pub receivers: usize,
    pub outstanding: usize,
    pub channels: usize,
    /// `place=split`.
    split: bool,
    /// `where=one`.
    pub one: bool,
    /// `op=read`.
    pub read: bool,
    /// The processors that the process may use as it was started.
    allowed: Vec<usize>,
}

fn wrong(what: &str) -> ! {
    leave(&format!("wrong argument: {}", what), 2)
}

fn either(arg: &str, value: &str, yes: &str, no: &str) -> bool {
    if value != yes && value != no {
        wrong(arg);
    }
    value == yes
}

impl Args {
    pub fn parse() -> Args {
        let mut words = std::env::args().skip(1);
        let (peer, case) = match (words.next(), words.next()) {
            (Some(peer), Some(case)) => (peer, case),
            _ => wrong("PEER CASE [KEY=VALUE...]"),
        };
        let mut args = Args {
            peer,
            case,
            messages: 1_000_000,
            capacity: 0,
            size: 8,
            producers: 1,
            receivers: 1,
            outstanding: 1,
            channels: 1,
            split: false,
            one: false,
            read: false,
            allowed: allowed(),
        };
        for word in words {
            args.set(&word);
        }
        args.check();
        args
    }

    fn set(&mut self, arg: &str) {
        let (key, value) = arg.split_once('=').unwrap_or_else(|| wrong(arg));
        match CASES.iter().find(|(case, _)| *case == self.case) {
            Some((_, keys)) if keys.contains(&key) => {}
            Some(_) => wrong(arg),
            None => crate::none("it has no such case"),
        }
        match key {
            "place" => self.split = either(arg, value, "split", "free"),
            "where" => self.one = either(arg, value, "one", "threads"),
            "op" => self.read = either(arg, value, "read", "send"),
            _ => self.set_number(arg, key, value),
        }
    }

    fn set_number(&mut self, arg: &str, key: &str, value: &str) {
        let n = match value.parse::<u64>() {
            Ok(n) if n <= 1 << 40 => n,
            _ => wrong(arg),
        };
        match key {
            "messages" => self.messages = n,
            "capacity" => self.capacity = n as usize,
            "size" => self.size = n as usize,
            "producers" => self.producers = n as usize,
            "receivers" => self.receivers = n as usize,
            "outstanding" => self.outstanding = n as usize,
            "channels" => self.channels = n as usize,
            _ => wrong(arg),
        }
    }

    fn check(&self) {
        let least = [self.producers, self.receivers, self.outstanding, self.channels];
        if self.messages == 0
            || self.size < 8
            || self.size > SIZE_MAX
            || self.size % 8 != 0
            || self.producers > PRODUCERS_MAX
            || least.contains(&0)
        {
            wrong("a number out of its range");
        }
    }

    /// The same, with the threads left where they are.
    pub fn free(&self) -> Args {
        Args { split: false, ..self.clone() }
    }

    /// Keep the calling thread on the n-th allowed processor, counted round, if `place=split`.
    pub fn place(&self, n: usize) {
        if !self.split {
            return;
        }
        let done = unsafe {
            let mut one: libc::cpu_set_t = mem::zeroed();
            libc::CPU_SET(self.allowed[n % self.allowed.len()], &mut one);
            libc::sched_setaffinity(0, mem::size_of_val(&one), &one)
        };
        if done != 0 {
            fail("sched_setaffinity failed");
        }
    }
}

fn allowed() -> Vec<usize> {
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    if unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) } != 0 {
        fail("sched_getaffinity failed");
    }
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}
