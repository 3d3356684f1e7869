// SPDX-License-Identifier: MIT
//! What the peers in Rust share. README.md in bench/peers says what a peer has to do; peer.h there is the same for C.

pub mod args;
pub mod blocking;
pub mod idle;
pub mod measure;
pub mod message;
#[cfg(feature = "tasks")]
pub mod tasks;

pub use args::Args;
pub use idle::Idle;
pub use measure::{now, resident, result, Meter, Span};
pub use message::{fill, Check, Portions};

/// The run went wrong. From any thread.
pub fn fail(why: &str) -> ! {
    leave(why, 1)
}

/// The peer has nothing for this case.
pub fn none(why: &str) -> ! {
    leave(why, 3)
}

pub(crate) fn leave(why: &str, code: i32) -> ! {
    eprintln!("{}", why);
    // Not exit(): other threads still run.
    unsafe { libc::_exit(code) }
}

/// `body` with `N` as the number of words in a message of the size given.
#[macro_export]
macro_rules! by_size {
    ($size:expr, $n:ident => $body:expr) => {
        $crate::by_size!(@ $size, $n, $body, 8 64 256 1024 4096)
    };
    (@ $size:expr, $n:ident, $body:expr, $($bytes:literal)*) => {
        match $size {
            $($bytes => {
                const $n: usize = $bytes / 8;
                $body
            })*
            _ => $crate::none("the sizes of messages are 8, 64, 256, 1024 and 4096"),
        }
    };
}
