// SPDX-License-Identifier: MIT
//! Where the parts of a case run.

use peer::{fail, Args};
use std::future::Future;
use std::thread;
use tokio::runtime::{Builder, Runtime};
use tokio::task;

pub struct Home {
    /// Leaked, as tasks outlive the functions that start them.
    pub args: &'static Args,
    shared: Option<Runtime>,
}

/// A part that was started, on a thread or in the shared runtime.
pub enum Part<T> {
    Thread(thread::JoinHandle<T>),
    Task(task::JoinHandle<T>),
}

/// A runtime for the calling thread.
pub fn own() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap_or_else(|_| fail("cannot make a runtime"))
}

impl Home {
    pub fn threads(args: Args) -> Home {
        Home { args: Box::leak(Box::new(args)), shared: None }
    }

    pub fn shared(args: Args) -> Home {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.unwrap_or_else(|_| fail("cannot make a runtime"));
        Home { args: Box::leak(Box::new(args.free())), shared: Some(runtime) }
    }

    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Call `body` with the shared runtime, or one for this thread.
    pub fn with_runtime(&self, body: impl FnOnce(&Runtime)) {
        match &self.shared {
            Some(runtime) => body(runtime),
            None => body(&own()),
        }
    }

    /// Start a part. Parts place their threads themselves.
    pub fn start<T: Send + 'static>(&self, part: impl Future<Output = T> + Send + 'static) -> Part<T> {
        match &self.shared {
            Some(runtime) => Part::Task(runtime.spawn(part)),
            None => Part::Thread(thread::spawn(|| own().block_on(part))),
        }
    }

    pub fn join<T>(&self, part: Part<T>) -> T {
        let done = match (part, &self.shared) {
            (Part::Thread(thread), _) => thread.join().ok(),
            (Part::Task(task), Some(runtime)) => runtime.block_on(task).ok(),
            (Part::Task(_), None) => None,
        };
        done.unwrap_or_else(|| fail("a part failed"))
    }
}
