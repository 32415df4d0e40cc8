//! How a socket to a partner is set up, at both ends.
//!
//! Rule: a partner that is unplugged, or that never reads what it is sent, ends the connection within the idle limit.

use std::io;
use std::os::fd::AsFd;

use rustix::net::sockopt;

use super::Limits;

/// Sets the options of a TCP socket: no delay for small writes, probes while it rests, an end when the peer is gone.
pub fn prepare<S: AsFd>(socket: &S, limits: &Limits) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, limits.idle())?;
    sockopt::set_tcp_keepintvl(socket, limits.idle() / PROBES)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    let patience_ms = u32::try_from(limits.idle().as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(socket, patience_ms)?)
}

const PROBES: u32 = 3;
