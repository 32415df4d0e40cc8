//! The daemon: the staff socket, the partners' listener, the outbox, and an orderly end.
//!
//! Rule: whoever is not of the staff gets no word over a socket but that; a log that cannot be trusted opens no listener
//! for partners and changes nothing.

mod sockets;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::Extension;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::{Clock, Timestamp};
use crate::config::{Home, People};
use crate::desk::Staff;
use crate::gateway::{self, Gateway, GatewayError};
use crate::reason::Reason;
use crate::witness::{self, AtStart};
use crate::{desk, http, outbox, reception};

use sockets::Admitted;

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
    /// A staff socket cannot be made.
    #[error("cannot make the staff socket at {folder}")]
    Socket {
        /// Where.
        folder: String,
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
    let socket = sockets::owners(&home).await?;
    let (gateway, [asked, answered]) = match open(&home).await {
        Ok(opened) => opened,
        Err(GatewayError::Log(error)) => {
            tracing::error!(%error, "read-only: the log does not fit what was signed");
            let routes = http::read_only_routes(Reason::StoreRolledBack, error.to_string());
            let owner = Admitted::with(People::default());
            return serve_staff(socket, owner, routes, ended().map_err(DaemonError::Signals)?).await;
        }
        Err(error) => return Err(error.into()),
    };
    let staffs = match &gateway.config.staff.socket {
        Some(path) => Some(sockets::staffs(path).await?),
        None => None,
    };
    let address = gateway.config.listen.clone();
    let listen = |source| DaemonError::Listen { address: address.clone(), source };
    let listener = TcpListener::bind(&address).await.map_err(listen)?;
    let leftovers = gateway.drop_leftovers().map_err(DaemonError::Record)?;
    if leftovers > 0 {
        tracing::warn!(leftovers, "sealed files that no record names were removed");
    }
    gateway::record_start(&gateway, asked, answered).await.map_err(DaemonError::Record)?;
    let erased = desk::erasures::finish(&gateway).await.map_err(DaemonError::Record)?;
    if erased > 0 {
        tracing::warn!(erased, "erasures that were recorded before were carried out");
    }
    let expired = desk::retention::finish(&gateway).map_err(DaemonError::Record)?;
    if expired > 0 {
        tracing::warn!(expired, "sealed files whose time was over before were destroyed");
    }
    let finished = reception::finish_recalls(&gateway).await.map_err(DaemonError::Record)?;
    if finished > 0 {
        tracing::warn!(finished, "recalls that were taken before were carried out");
    }
    let stop = ended().map_err(DaemonError::Signals)?;
    let hangup = signal(SignalKind::hangup()).map_err(DaemonError::Signals)?;
    tracing::info!(institution = %gateway.id(), listen = %address, entries = gateway.log.size(), "serving");

    let partners = tokio::spawn(reception::serve(listener, Arc::clone(&gateway), stop.clone()));
    let outbox = tokio::spawn(outbox::run(Arc::clone(&gateway), stop.clone()));
    let hangups = tokio::spawn(reload_on_hangup(Arc::clone(&gateway), hangup, stop.clone()));
    let witnesses = tokio::spawn(witness::run(Arc::clone(&gateway), stop.clone()));
    let house = tokio::spawn(keep_house(Arc::clone(&gateway), stop.clone()));
    let admitted = Admitted::with(gateway.people.clone());
    let serve_on = |socket| serve_staff(socket, admitted.clone(), http::routes(Arc::clone(&gateway)), stop.clone());
    let people = staffs.map(|socket| tokio::spawn(serve_on(socket)));
    let staff = serve_on(socket).await;
    if let Some(people) = people
        && let Err(error) = people.await
    {
        tracing::error!(%error, task = "people", "a part of the daemon failed");
    }
    for (name, task) in
        [("partners", partners), ("outbox", outbox), ("house", house), ("hangups", hangups), ("witnesses", witnesses)]
    {
        if let Err(error) = task.await {
            tracing::error!(%error, task = name, "a part of the daemon failed");
        }
    }
    end_log(&gateway);
    tracing::info!("ended");
    staff
}

/// Opens the gateway, and asks its witnesses before it signs anything: a home that was set back as a whole looks whole to
/// itself, and only others know. Gives with it how many were asked and how many answered.
async fn open(home: &Home) -> Result<(Arc<Gateway>, [usize; 2]), GatewayError> {
    let gateway = Gateway::open(home, Clock::system())?;
    match witness::ask_before_signing(&gateway).await {
        AtStart::Agreed { asked, answered } => Ok((gateway, [asked, answered])),
        AtStart::Ahead => {
            end_log(&gateway);
            drop(gateway);
            // The later checkpoint lies on the disk now: the log says itself that it is behind.
            Gateway::open(home, Clock::system()).map(|gateway| (gateway, [0, 0]))
        }
    }
}

/// What time alone changes: cards and certificates begin and end, transfers that nobody goes on with are dropped.
async fn keep_house(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut scheduled = keep_schedule(&gateway).await;
    while !*stop.borrow() {
        tokio::select! {
            _ = stop.changed() => {}
            () = tokio::time::sleep(HOUSE_PAUSE) => {
                gateway.trust_partners();
                if gateway.now().duration_since(scheduled) >= SCHEDULE_PAUSE {
                    scheduled = keep_schedule(&gateway).await;
                }
                // What a hold kept of a recall goes once it is lifted.
                match reception::finish_recalls(&gateway).await {
                    Ok(0) => {}
                    Ok(finished) => tracing::info!(finished, "recalls that a hold had stopped were carried out"),
                    Err(problem) => tracing::warn!(%problem, "recalls that a hold had stopped wait on"),
                }
                match gateway.receiver.sweep().await {
                    Ok(0) => {}
                    Ok(dropped) => tracing::info!(dropped, "transfers that rested too long were dropped"),
                    Err(error) => tracing::warn!(%error, "transfers that rested too long could not be dropped"),
                }
            }
        }
    }
}

/// What is past its time goes, where the site says so. Says when it was looked at.
async fn keep_schedule(gateway: &Arc<Gateway>) -> Timestamp {
    match desk::retention::by_itself(gateway).await {
        Ok(0) => {}
        Ok(destroyed) => tracing::info!(destroyed, "sealed files whose time is over were destroyed"),
        Err(problem) => tracing::warn!(%problem, "the retention schedule waits"),
    }
    gateway.now()
}

/// The operator's way to say that the policy folder has changed. Whether the set was taken stands in log and journal.
async fn reload_on_hangup(gateway: Arc<Gateway>, mut hangup: Signal, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        tokio::select! {
            _ = stop.changed() => {}
            Some(()) = hangup.recv() => {
                if let Err(problem) = gateway.reload_policy(None).await {
                    tracing::warn!(%problem, "the policy was not read anew");
                }
            }
        }
    }
}

async fn serve_staff(
    socket: UnixListener,
    admitted: Admitted,
    routes: Router,
    mut stop: watch::Receiver<bool>,
) -> Result<(), DaemonError> {
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
        let (routes, patience) = if admitted.has(uid) {
            (routes.clone().layer(Extension(Staff { uid })), FOR_EVER)
        } else {
            tracing::warn!(uid, "a user who is not of the staff was turned away");
            (http::stranger_routes(uid), STRANGER)
        };
        let mut stop = stop.clone();
        connections.spawn(async move {
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()).http1_only();
            let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = tokio::time::sleep(patience) => return,
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

/// How long a stranger may keep a connection, to hear that he is one.
const STRANGER: std::time::Duration = std::time::Duration::from_secs(5);

/// The staff may stay as long as it likes: a large bundle takes its time.
const FOR_EVER: std::time::Duration = std::time::Duration::MAX;

/// How long the last staff requests may take at the end.
const DRAIN: std::time::Duration = std::time::Duration::from_secs(10);

/// How often that is looked at.
const HOUSE_PAUSE: std::time::Duration = std::time::Duration::from_mins(1);

/// How often the retention schedule is carried out, where the site says so.
const SCHEDULE_PAUSE: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
