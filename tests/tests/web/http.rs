//! A client that sends what it is told, good or bad. A connection for each request, unless said.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderMap};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// What a server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// Expects status and body.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, body: &str) {
        assert_eq!(
            (self.status, self.body.as_str()),
            (status, body),
            "{self:?}"
        );
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("ASCII"))
    }
}

/// A GET with this `Host`.
#[track_caller]
pub(crate) fn get(to: SocketAddr, host: &str, path: &str) -> Answer {
    let request = Request::get(path).header(HOST, host);
    send(to, request.body(Empty::new()).expect("a request"))
}

/// Sends a request over HTTP/1.1, as it is.
#[track_caller]
pub(crate) fn send(to: SocketAddr, request: Request<Empty<Bytes>>) -> Answer {
    runtime().block_on(send_async(to, request))
}

/// Sends a request over HTTP/1.1, as it is; many can be under way at once.
pub(crate) async fn send_async(to: SocketAddr, request: Request<Empty<Bytes>>) -> Answer {
    let stream = tokio::net::TcpStream::connect(to).await.expect("connected");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/1");
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.expect("an answer");
    let answer = read(response).await;
    drop(sender);
    let _ = connection.await;
    answer
}

/// Sends a request over HTTP/2, which the server is known to speak.
#[track_caller]
pub(crate) fn send_http2(to: SocketAddr, request: Request<Empty<Bytes>>) -> Answer {
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(to).await.expect("connected");
        let io = TokioIo::new(stream);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io)
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        let response = sender.send_request(request).await.expect("an answer");
        read(response).await
    })
}

async fn read(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("the whole body").to_bytes();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).expect("text"),
    }
}

/// Sends bytes, and returns the status and all else that comes back before the server closes.
///
/// The bytes have to ask for that: `Connection: close`, or HTTP/1.0.
#[track_caller]
pub(crate) fn raw(to: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut stream = begin(to, request);
    let mut answer = Vec::new();
    // It may be reset, where the server closes before it has read everything.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.get(9..12).and_then(|digits| digits.parse().ok());
    (
        status.unwrap_or_else(|| panic!("no status: {answer:?}")),
        answer,
    )
}

/// Sends bytes and does not wait; the client goes away when the stream is dropped.
#[track_caller]
pub(crate) fn begin(to: SocketAddr, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("connected");
    let patience = Some(Duration::from_mins(1));
    stream.set_read_timeout(patience).expect("a time limit");
    stream.write_all(request).expect("sent");
    stream
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
