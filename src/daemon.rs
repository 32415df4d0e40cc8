//! The daemon: the staff socket, the partners' listener, the outbox, and an orderly end.
//!
//! Rule: whoever does not own the gateway gets no word over the socket; a log that cannot be trusted opens no listener
//! for partners and changes nothing.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::Extension;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::Home;
use crate::desk::Staff;
use crate::gateway::{self, Gateway, GatewayError};
use crate::reason::Reason;
use crate::{http, outbox, reception};

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The gateway cannot be opened.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The address for partners cannot be taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The staff socket cannot be made.
    #[error("cannot make the staff socket in {home}")]
    Socket {
        /// The home.
        home: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another daemon serves this home.
    #[error("another daemon serves {0} already")]
    Running(String),
    /// The start cannot be recorded.
    #[error("the start cannot be recorded: {0}")]
    Record(crate::problem::Problem),
    /// The operating system does not tell when to end.
    #[error("signals cannot be waited for")]
    Signals(#[source] std::io::Error),
}

/// Reads and checks everything that [`serve`] would use.
pub fn check(home: &Path) -> Result<(), GatewayError> {
    Gateway::open(&Home::at(home), Clock::system()).map(|gateway| end_log(&gateway))
}

/// Signs what was recorded last. A log that died has ended the process before this.
fn end_log(gateway: &Gateway) {
    if let Err(error) = gateway.log.close() {
        tracing::error!(%error, "the log could not be closed");
    }
}

/// Serves until the operating system says to end.
pub async fn serve(home: &Path) -> Result<(), DaemonError> {
    let home = Home::at(home);
    let socket = staff_socket(&home).await?;
    let gateway = match Gateway::open(&home, Clock::system()) {
        Ok(gateway) => gateway,
        Err(GatewayError::Log(error)) => {
            tracing::error!(%error, "read-only: the log does not fit what was signed");
            let routes = http::read_only_routes(Reason::StoreRolledBack, error.to_string());
            return serve_staff(socket, routes, ended().map_err(DaemonError::Signals)?).await;
        }
        Err(error) => return Err(error.into()),
    };
    let address = gateway.config.listen.clone();
    let listen = |source| DaemonError::Listen { address: address.clone(), source };
    let listener = TcpListener::bind(&address).await.map_err(listen)?;
    let leftovers = gateway.drop_leftovers().map_err(DaemonError::Record)?;
    if leftovers > 0 {
        tracing::warn!(leftovers, "sealed files that no record names were removed");
    }
    gateway::record_start(&gateway).await.map_err(DaemonError::Record)?;
    let stop = ended().map_err(DaemonError::Signals)?;
    tracing::info!(institution = %gateway.id(), listen = %address, entries = gateway.log.size(), "serving");

    let partners = tokio::spawn(reception::serve(listener, Arc::clone(&gateway), stop.clone()));
    let outbox = tokio::spawn(outbox::run(Arc::clone(&gateway), stop.clone()));
    let house = tokio::spawn(keep_house(Arc::clone(&gateway), stop.clone()));
    let staff = serve_staff(socket, http::routes(Arc::clone(&gateway)), stop).await;
    for (name, task) in [("partners", partners), ("outbox", outbox), ("house", house)] {
        if let Err(error) = task.await {
            tracing::error!(%error, task = name, "a part of the daemon failed");
        }
    }
    end_log(&gateway);
    tracing::info!("ended");
    staff
}

/// What time alone changes: cards and certificates begin and end, transfers that nobody goes on with are dropped.
async fn keep_house(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        tokio::select! {
            _ = stop.changed() => {}
            () = tokio::time::sleep(HOUSE_PAUSE) => {
                gateway.trust_partners();
                match gateway.receiver.sweep().await {
                    Ok(0) => {}
                    Ok(dropped) => tracing::info!(dropped, "transfers that rested too long were dropped"),
                    Err(error) => tracing::warn!(%error, "transfers that rested too long could not be dropped"),
                }
            }
        }
    }
}

/// Makes the staff socket: mode 0600, reached through the folder's descriptor so that a long path does not matter.
async fn staff_socket(home: &Home) -> Result<UnixListener, DaemonError> {
    let problem = |source| DaemonError::Socket { home: home.path().display().to_string(), source };
    let folder = std::fs::File::open(home.path()).map_err(problem)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    if UnixStream::connect(&path).await.is_ok() {
        return Err(DaemonError::Running(home.path().display().to_string()));
    }
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(problem(error)),
    }
    // The home itself is 0700, so that nobody can connect before the mode is set.
    let socket = UnixListener::bind(&path).map_err(problem)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(problem)?;
    Ok(socket)
}

async fn serve_staff(socket: UnixListener, routes: Router, mut stop: watch::Receiver<bool>) -> Result<(), DaemonError> {
    let us = rustix::process::geteuid().as_raw();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a staff connection failed");
                    continue;
                }
            },
            _ = stop.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let uid = match stream.peer_cred() {
            Ok(peer) => peer.uid(),
            Err(error) => {
                tracing::warn!(%error, "a staff connection without credentials");
                continue;
            }
        };
        if uid != us && uid != 0 {
            tracing::warn!(uid, "a user who does not own the gateway was turned away");
            continue;
        }
        let routes = routes.clone().layer(Extension(Staff { uid }));
        let mut stop = stop.clone();
        connections.spawn(async move {
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()).http1_only();
            let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                _ = stop.changed() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::time::timeout(DRAIN, connection).await.unwrap_or(Ok(()))
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a staff connection broke");
            }
        });
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Turns true when the operating system says to end.
fn ended() -> Result<watch::Receiver<bool>, std::io::Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tell.send_replace(true);
        // Whoever says it twice means now.
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::abort();
    });
    Ok(told)
}

/// The staff socket's name in the home.
pub const SOCKET: &str = "medseal.sock";

/// How long the last staff requests may take at the end.
const DRAIN: std::time::Duration = std::time::Duration::from_secs(10);

/// How often that is looked at.
const HOUSE_PAUSE: std::time::Duration = std::time::Duration::from_mins(1);
