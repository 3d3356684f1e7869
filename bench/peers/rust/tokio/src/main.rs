// SPDX-License-Identifier: MIT
//! Peers `tokio`, each thread with a current_thread runtime of its own, and `tokio-mt`, one runtime of many threads, which moves
//! its tasks between them, so that there is nothing to place. Both with all drivers, as most users have them: a runtime without
//! work waits in epoll.

mod broadcast;
mod flow;
mod home;
mod idle;
mod pingpong;
mod request;
mod watch;

use home::Home;
use peer::{none, Args};

fn main() {
    let args = Args::parse();
    let home = match args.peer.as_str() {
        "tokio" => Home::threads(args),
        "tokio-mt" => Home::shared(args),
        _ => none("it has no such peer"),
    };

    match home.args.case.as_str() {
        "stream" => flow::stream(&home),
        "pair" => flow::pair(&home),
        "pingpong" => pingpong::run(&home),
        "request" => request::run(&home),
        "broadcast" => broadcast::run(&home),
        "watch" => watch::run(&home),
        "idle" => idle::run(&home),
        _ => none("it has no such case"),
    }
}
