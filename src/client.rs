//! The staff API from the other side: HTTP over a Unix socket, in one institution's home or where its staff finds it.
//!
//! Rule: only JSON and sealed or announced bytes pass here; this file opens no document and prints nothing. A request
//! has a connection of its own, so that a long upload never stands in the way of a question.

mod transfer;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Runtime;

pub use transfer::{Download, Upload};

use crate::config::Home;

/// The name of the socket in a home.
pub const SOCKET: &str = "medseal.sock";

/// A running gateway, as its staff reaches it. Every call blocks until the answer is there.
#[derive(Debug)]
pub struct Api {
    place: Place,
    runtime: Runtime,
}

/// The gateway's answer where it did not do what was asked.
#[derive(Clone, Debug, Deserialize, Serialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The stable code.
    pub code: String,
    /// What the code means.
    #[serde(default)]
    pub title: String,
    /// What was found, and what is allowed.
    pub detail: String,
    /// What mends it.
    #[serde(default)]
    pub hint: String,
    /// The HTTP status: 403 is a refusal, 503 means try again, everything else means it could not be done.
    pub status: u16,
    /// The request, as the gateway's own log names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// The bundle that the answer is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// The documents or rules that the answer is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ProblemItem>,
}

/// One document or rule of a [`Problem`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ProblemItem {
    /// The document's path in the bundle; empty where the item is about all of it.
    #[serde(default)]
    pub path: String,
    /// The stable code.
    #[serde(default)]
    pub code: String,
    /// One plain sentence.
    #[serde(default)]
    pub text: String,
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// There is no such socket.
    #[error("{} is not the staff socket of a gateway that runs", socket.display())]
    NoSocket {
        /// The path asked for.
        socket: PathBuf,
    },
    /// There is no such home.
    #[error("{} is not the home of a gateway", home.display())]
    NoHome {
        /// The folder asked for.
        home: PathBuf,
    },
    /// Nobody listens.
    #[error("the gateway at {} is not running", home.display())]
    Away {
        /// Its home.
        home: PathBuf,
    },
    /// Somebody may listen, but not to this user.
    #[error("the gateway at {} cannot be reached: {source}", place.display())]
    Unreachable {
        /// Its home or its socket.
        place: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The line broke.
    #[error("the connection to the gateway broke: {0}")]
    Broke(String),
    /// The gateway did not do it.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The answer has another shape.
    #[error("the gateway gave an answer that this program does not understand: {0}")]
    Answer(String),
}

/// Where a gateway is reached.
#[derive(Clone, Debug)]
pub enum Place {
    /// In its home, by its owner.
    Home(Home),
    /// On the socket of its staff.
    Socket(PathBuf),
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Api {
    /// The gateway of `home`. Fails at once when there is no home or nobody listens.
    pub fn connect(home: &Home) -> Result<Self, ApiError> {
        Self::reach(Place::Home(home.clone()))
    }

    /// The gateway at `place`. Fails at once when nobody listens there.
    pub fn reach(place: Place) -> Result<Self, ApiError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ApiError::Broke(error.to_string()))?;
        let api = Self { place, runtime };
        drop(api.runtime.block_on(api.dial())?);
        Ok(api)
    }

    /// Asks for JSON.
    pub fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call(Method::GET, path, None)
    }

    /// Sends JSON, answers JSON.
    pub fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, ApiError> {
        let bytes = serde_json::to_vec(body).map_err(|error| ApiError::Answer(error.to_string()))?;
        self.call(Method::POST, path, Some(bytes))
    }

    /// Sends bytes that are JSON already, untouched.
    pub fn post_bytes(&self, path: &str, json: Vec<u8>) -> Result<Value, ApiError> {
        self.call(Method::POST, path, Some(json))
    }

    /// Removes.
    pub fn delete(&self, path: &str) -> Result<Value, ApiError> {
        self.call(Method::DELETE, path, None)
    }

    /// Asks for text.
    pub fn text(&self, path: &str) -> Result<String, ApiError> {
        let request = request(Method::GET, path).body(empty());
        self.runtime.block_on(async {
            let (status, body) = self.send(request.map_err(broke)?).await?;
            let bytes = whole(body).await?;
            if !status.is_success() {
                return Err(problem(status, &bytes));
            }
            String::from_utf8(bytes.into()).map_err(|error| ApiError::Answer(error.to_string()))
        })
    }

    /// Asks for bytes of any length, as they come.
    pub fn download(&self, path: &str) -> Result<Download<'_>, ApiError> {
        let request = request(Method::GET, path).body(empty());
        self.runtime.block_on(async {
            let (status, body) = self.send(request.map_err(broke)?).await?;
            if !status.is_success() {
                return Err(problem(status, &whole(body).await?));
            }
            Ok(Download::new(&self.runtime, body))
        })
    }

    /// Starts sending bytes of any length.
    pub fn upload(&self, path: &str) -> Result<Upload<'_>, ApiError> {
        let (pieces, body) = transfer::channel();
        let request = request(Method::PUT, path)
            .header(header::CONTENT_TYPE, "application/x-tar")
            .body(UnsyncBoxBody::new(body))
            .map_err(broke)?;
        let mut line = self.runtime.block_on(self.dial())?;
        let answer = self.runtime.spawn(async move {
            let response = line.send_request(request).await.map_err(broke)?;
            let status = response.status();
            let bytes = whole(response.into_body()).await?;
            json(status, &bytes)
        });
        Ok(Upload::new(&self.runtime, pieces, answer))
    }

    fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Value, ApiError> {
        let mut builder = request(method, path);
        if body.is_some() {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(empty, |bytes| full(bytes.into()));
        self.runtime.block_on(async {
            let (status, body) = self.send(builder.body(body).map_err(broke)?).await?;
            json(status, &whole(body).await?)
        })
    }

    async fn send(&self, request: Request<Body>) -> Result<(StatusCode, Incoming), ApiError> {
        let response = self.dial().await?.send_request(request).await.map_err(broke)?;
        Ok((response.status(), response.into_body()))
    }

    async fn dial(&self) -> Result<SendRequest<Body>, ApiError> {
        let stream = match &self.place {
            Place::Home(home) => socket(home.path()).await?,
            Place::Socket(path) => staff_socket(path).await?,
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        // What ends the connection also ends the request on it, which says so.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

async fn socket(home: &Path) -> Result<tokio::net::UnixStream, ApiError> {
    let folder = File::open(home).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ApiError::NoHome { home: home.to_owned() },
        _ => ApiError::Unreachable { place: home.to_owned(), source },
    })?;
    // A socket's name holds 107 bytes. A home may lie deeper than that, so it is named by its open handle.
    let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(SOCKET);
    tokio::net::UnixStream::connect(&path).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused if Home::at(home).config().is_file() => {
            ApiError::Away { home: home.to_owned() }
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ApiError::NoHome { home: home.to_owned() },
        _ => ApiError::Unreachable { place: home.to_owned(), source },
    })
}

async fn staff_socket(path: &Path) -> Result<tokio::net::UnixStream, ApiError> {
    tokio::net::UnixStream::connect(path).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ApiError::NoSocket { socket: path.to_owned() },
        _ => ApiError::Unreachable { place: path.to_owned(), source },
    })
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "medseal").header(header::ACCEPT, "*/*")
}

fn json(status: StatusCode, bytes: &[u8]) -> Result<Value, ApiError> {
    if !status.is_success() {
        return Err(problem(status, bytes));
    }
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes).map_err(|error| ApiError::Answer(error.to_string()))
}

fn problem(status: StatusCode, bytes: &[u8]) -> ApiError {
    match serde_json::from_slice(bytes) {
        Ok(problem) => ApiError::Problem(Box::new(problem)),
        Err(_) => ApiError::Answer(format!("HTTP status {status}")),
    }
}

async fn whole(body: Incoming) -> Result<Bytes, ApiError> {
    body.collect().await.map(http_body_util::Collected::to_bytes).map_err(broke)
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn empty() -> Body {
    full(Bytes::new())
}

fn broke(error: impl std::error::Error) -> ApiError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    ApiError::Broke(text)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A home whose socket answers `answer` to one request after the first connection, and keeps what it was sent.
    fn listening(answer: &'static str) -> (tempfile::TempDir, std::thread::JoinHandle<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        crate::durable::write_new(&folder.path().join("medseal.toml"), b"", 0o600).expect("written");
        let socket = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let listener = std::thread::spawn(move || {
            drop(socket.accept().expect("the caller sees whether somebody listens"));
            let (mut line, _) = socket.accept().expect("the request");
            let mut sent = Vec::new();
            let mut piece = [0; 4096];
            while !sent.ends_with(b"\r\n0\r\n\r\n") {
                match line.read(&mut piece).expect("readable") {
                    0 => return String::from_utf8_lossy(&sent).into_owned(),
                    read => sent.extend_from_slice(&piece[..read]),
                }
            }
            line.write_all(answer.as_bytes()).expect("the answer");
            String::from_utf8_lossy(&sent).into_owned()
        });
        (folder, listener)
    }

    #[test]
    fn an_upload_that_is_given_up_never_looks_like_a_whole_one() {
        let (folder, listener) = listening("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        let api = Api::connect(&Home::at(folder.path())).expect("somebody listens");
        let mut upload = api.upload("/v1/bundles/x/content").expect("an upload");
        upload.write_all(b"half of it").and_then(|()| upload.flush()).expect("taken");
        assert!(upload.answer().is_err(), "half of it was answered as if it were whole");
        let sent = listener.join().expect("no panic");
        assert!(!sent.ends_with("\r\n0\r\n\r\n"), "the stream was ended as if it were whole: {sent:?}");
    }

    #[test]
    fn a_whole_upload_is_answered() {
        let (folder, listener) = listening("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"bundle\":\"x\"}");
        let api = Api::connect(&Home::at(folder.path())).expect("somebody listens");
        let mut upload = api.upload("/v1/bundles/x/content").expect("an upload");
        upload.write_all(b"all of it").expect("taken");
        assert_eq!(upload.finish().expect("an answer")["bundle"], "x");
        assert!(listener.join().expect("no panic").contains("all of it"));
    }

    #[test]
    fn a_refusal_is_told_from_a_gateway_that_is_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path());
        assert!(matches!(Api::connect(&home), Err(ApiError::NoHome { .. })));
        crate::durable::write_new(&home.config(), b"", 0o600).expect("written");
        assert!(matches!(Api::connect(&home), Err(ApiError::Away { .. })));
        let problem = br#"{"code":"NO_CONSENT","detail":"no consent","status":403}"#;
        let error = json(StatusCode::FORBIDDEN, problem).expect_err("a refusal");
        assert!(matches!(error, ApiError::Problem(problem) if problem.code == "NO_CONSENT"));
    }
}
