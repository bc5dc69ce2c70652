//! Bytes that are no request.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

use crate::client::{closed, tls};
use crate::server::{Server, Setup};

const SOON: Duration = Duration::from_secs(5);

/// xorshift64: the same strings in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A string that sometimes begins like a request, so that not all of them end at the first byte.
    fn string(&mut self) -> Vec<u8> {
        const BEGINNINGS: [&[u8]; 6] = [
            b"",
            b"\x16\x03\x01",
            b"GET /v1/models HTTP/1.1\r\n",
            b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 10\r\n\r\n",
            b"POST /v1/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ];
        let index = usize::try_from(self.next() % 6).expect("small");
        let length = self.next() % 300;
        BEGINNINGS[index].iter().copied().chain((0..length).map(|_| self.next().to_le_bytes()[3])).collect()
    }
}

fn server() -> Server {
    Server::limits(Setup::default().script, |limits| {
        limits.header_timeout_ms = 1000;
        limits.body_timeout_ms = 200;
        limits.connections = 2000;
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_strings_leave_the_port_serving() {
    let server = server();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        let _ = stream.write_all(&random.string()).await;
    }
    server.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_strings_inside_of_tls_and_on_the_unix_socket_leave_the_server_serving() {
    let server = server();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..300 {
        let mut stream = tls(&server, if round % 2 == 0 { b"h2" } else { b"http/1.1" }).await;
        let _ = stream.write_all(&random.string()).await;
        let mut stream = UnixStream::connect(&server.unix).await.expect("connected");
        let _ = stream.write_all(&random.string()).await;
    }
    server.still_serves().await;
}

#[tokio::test]
async fn requests_that_http_forbids_are_refused_and_closed() {
    let server = server();
    let requests: [(&[u8], &str); 5] = [
        (b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "400"),
        (b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", "400"),
        (b"GET /health HTTP/1.1\r\nbad header\r\n\r\n", "400"),
        (b"GET /health HTTP/9.9\r\n\r\n", "400"),
        (b"\0\0\0\0\0\0\0\0\r\n\r\n", "400"),
    ];
    for (request, status) in requests {
        let mut stream = UnixStream::connect(&server.unix).await.expect("connected");
        stream.write_all(request).await.expect("sent");
        let answer = String::from_utf8(closed(&mut stream, SOON).await.expect("closed")).expect("UTF-8");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    let mut long = b"GET /health HTTP/1.1\r\nx: ".to_vec();
    long.resize(200_000, b'a');
    let mut stream = UnixStream::connect(&server.unix).await.expect("connected");
    let _ = stream.write_all(&long).await;
    let answer = String::from_utf8(closed(&mut stream, SOON).await.expect("closed")).expect("UTF-8");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    server.still_serves().await;
}
