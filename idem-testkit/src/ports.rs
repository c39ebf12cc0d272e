//! Ports for servers.

use std::{
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
};

/// Below 32768: above are the ports that outgoing connections get.
pub(crate) fn free_port() -> u16 {
    let random = || RandomState::new().hash_one(0) % 12_768;
    (0..1_000)
        .map(|_| 20_000 + u16::try_from(random()).expect("below 12,768"))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}
