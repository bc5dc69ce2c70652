//! The OHTTP gateway of the fake appliance, which can be told to misbehave, and one that other people made.

use std::{
    collections::{HashSet, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures::{
    executor::block_on,
    io::{AllowStdIo, AsyncReadExt as _, AsyncWriteExt as _},
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame};
use protocol::{
    PublicKey,
    bhttp::{self, Field, Limits, write_content, write_end, write_response_head},
    date,
    hpke::{Aead, Kem, Random, SecretKey},
    keyset::algorithm,
    ohttp::{self, ChunkSealer, GatewayKey, KeyConfig, open_chunked_request},
};
use serde_json::json;

use crate::{
    fake::State,
    notary::Notary,
    reply::{AnswerBody, object},
};

/// What goes wrong with sealed answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meddle {
    Nothing,
    /// The final chunk is left out.
    NoFinal,
    /// A bit of the last chunk before the final one is flipped.
    Tamper,
    /// A chunk comes twice.
    Repeat,
    /// Two chunks change places.
    Swap,
    /// A chunk says that it is longer than 16 KiB.
    Oversize,
    /// The answer is not sealed at all, and claims success.
    Clear,
    /// Every request gets the error of an unknown key.
    NoKey,
    /// Every request gets the error of a wrong date.
    NoDate,
}

pub struct Gateway {
    pub meddle: Mutex<Meddle>,
    /// The list names keys that are in no keyset.
    pub foreign_keys: Mutex<bool>,
    /// Seconds that the appliance's clock is ahead; with it, dates are looked at.
    pub clock: Mutex<Option<i64>>,
    /// What came, as it came: headers and body.
    pub outside: Mutex<Vec<(HeaderMap, Vec<u8>)>>,
    seen: Mutex<HashSet<Vec<u8>>>,
    judge: Option<Judge>,
}

/// A gateway of the `ohttp` crate.
struct Judge {
    server: ::ohttp::Server,
    config: KeyConfig,
}

const AEADS: [Aead; 3] = [Aead::Aes128Gcm, Aead::ChaCha20Poly1305, Aead::Aes256Gcm];

impl Gateway {
    pub fn ours() -> Self {
        Self {
            meddle: Mutex::new(Meddle::Nothing),
            foreign_keys: Mutex::default(),
            clock: Mutex::default(),
            outside: Mutex::default(),
            seen: Mutex::default(),
            judge: None,
        }
    }

    pub fn of_others(post_quantum: bool) -> Self {
        ::ohttp::init();
        let kem = if post_quantum { ::ohttp::hpke::Kem::XWing } else { ::ohttp::hpke::Kem::X25519Sha256 };
        let suites = [::ohttp::hpke::Aead::Aes128Gcm, ::ohttp::hpke::Aead::ChaCha20Poly1305]
            .map(|aead| ::ohttp::SymmetricSuite::new(::ohttp::hpke::Kdf::HkdfSha256, aead));
        let theirs = ::ohttp::KeyConfig::new(3, kem, suites.to_vec()).unwrap();
        let list = ::ohttp::KeyConfig::encode_list(&[&theirs]).unwrap();
        let config = ohttp::decode_list(&list).unwrap().remove(0);
        Self { judge: Some(Judge { server: ::ohttp::Server::new(theirs).unwrap(), config }), ..Self::ours() }
    }

    /// The keys of an epoch: the current one and the next. Those of the epoch before are not accepted any more.
    fn keys(epoch: u8) -> [GatewayKey; 2] {
        [epoch, epoch + 1].map(|number| GatewayKey {
            key_id: number,
            secret: SecretKey::derive(Kem::X25519, &[number; 32]),
            aeads: AEADS.to_vec(),
        })
    }

    fn configs(&self, epoch: u8) -> Vec<KeyConfig> {
        match &self.judge {
            Some(judge) => vec![judge.config.clone()],
            None => Self::keys(epoch).iter().map(GatewayKey::config).collect(),
        }
    }

    /// Entries of the keyset.
    pub fn published(&self, epoch: u8) -> Vec<PublicKey> {
        let algo = |config: &KeyConfig| match config.key.kem() {
            Kem::X25519 => algorithm::OHTTP.to_owned(),
            Kem::XWing => algorithm::OHTTP_XWING.to_owned(),
        };
        let entry = |config: &KeyConfig| PublicKey {
            key_id: format!("ohttp-{}", config.key_id),
            algo: algo(config),
            public_key: hex::encode(config.key.as_bytes()),
        };
        self.configs(epoch).iter().map(entry).collect()
    }

    /// `GET /.well-known/ohttp-gateway`
    pub fn list(&self, epoch: u8) -> Response<AnswerBody> {
        let epoch = if *self.foreign_keys.lock().unwrap() { epoch + 100 } else { epoch };
        bytes(StatusCode::OK, ohttp::KEYS_TYPE, ohttp::encode_list(&self.configs(epoch)))
    }

    /// `POST /.well-known/ohttp-gateway`; `None` to hang up.
    pub async fn answer(&self, state: &Arc<State>, headers: HeaderMap, body: Vec<u8>) -> Option<Response<AnswerBody>> {
        assert_eq!(headers["content-type"], ohttp::CHUNKED_REQUEST_TYPE);
        self.outside.lock().unwrap().push((headers, body.clone()));
        let meddle = *self.meddle.lock().unwrap();
        if meddle == Meddle::NoKey {
            return Some(unknown_key());
        }
        if meddle == Meddle::Clear {
            return Some(object(StatusCode::OK, &json!({"choices": []})));
        }
        if let Some(judge) = &self.judge {
            return judge.answer(state, &body).await;
        }
        let keys = Self::keys(state.epoch());
        let keys: Vec<&GatewayKey> = keys.iter().collect();
        let opened = match open_chunked_request(&keys, &body) {
            Ok(opened) => opened,
            Err(protocol::Refusal::UnknownKey) => return Some(unknown_key()),
            Err(_) => return Some(object(StatusCode::BAD_REQUEST, &json!({"error": {"code": "undecryptable"}}))),
        };
        assert!(self.seen.lock().unwrap().insert(opened.enc.clone()), "a sealed request came twice");
        let request = bhttp::Request::decode(&opened.content, Limits::default()).unwrap();
        let (mut nonce, mut sealer) = opened.reply.start(&mut random()).unwrap();
        let inner = match self.refused_date(&request.head.fields, meddle) {
            Some(refused) => refused,
            None => {
                let headers = header_map(&request.head.fields);
                state.respond(request.head.path, headers, request.content).await?
            }
        };
        let (head, body) = inner.into_parts();
        let fields = head.headers.iter().map(|(name, value)| Field::new(name.as_str(), value.as_bytes())).collect();
        let mut message = Vec::new();
        write_response_head(&bhttp::ResponseHead { status: head.status.as_u16(), fields }, &mut message);
        sealer.seal(&message, &mut nonce).unwrap();
        let trailer = head.extensions.get::<(Arc<Notary>, String)>().cloned();
        let sealed =
            Sealed { inner: body, sealer: Some(sealer), ready: [nonce.into()].into(), kept: None, trailer, meddle };
        let mut answer = Response::new(sealed.boxed_unsync());
        answer.headers_mut().insert("content-type", HeaderValue::from_static(ohttp::CHUNKED_RESPONSE_TYPE));
        Some(answer)
    }

    fn refused_date(&self, fields: &[Field], meddle: Meddle) -> Option<Response<AnswerBody>> {
        let now = lethe::appliance::now().unix() + (*self.clock.lock().unwrap()).unwrap_or_default();
        let then = bhttp::value_of(fields, "date").unwrap();
        let then = i64::try_from(date::read(std::str::from_utf8(then).unwrap()).unwrap()).unwrap();
        let wrong = self.clock.lock().unwrap().is_some() && (now - then).abs() > 60;
        (wrong || meddle == Meddle::NoDate).then(|| {
            let mut answer = problem(ohttp::DATE_PROBLEM);
            let now = date::write(u64::try_from(now).unwrap());
            answer.headers_mut().insert("date", HeaderValue::try_from(now).unwrap());
            answer
        })
    }
}

impl Judge {
    async fn answer(&self, state: &Arc<State>, sealed: &[u8]) -> Option<Response<AnswerBody>> {
        let mut request = self.server.clone().decapsulate_stream(sealed);
        let mut message = Vec::new();
        block_on(request.read_to_end(&mut message)).unwrap();
        let message = ::bhttp::Message::read_bhttp(&mut io::Cursor::new(message)).unwrap();
        let control = message.control();
        assert_eq!(control.scheme(), Some(&b"https"[..]));
        let mut headers = HeaderMap::new();
        for field in message.header().iter() {
            headers
                .append(HeaderName::from_bytes(field.name()).unwrap(), HeaderValue::from_bytes(field.value()).unwrap());
        }
        let path = String::from_utf8(control.path().unwrap().to_vec()).unwrap();
        let inner = state.respond(path, headers, message.content().to_vec()).await?;
        let (head, body) = inner.into_parts();
        let mut answer = ::bhttp::Message::response(::bhttp::StatusCode::try_from(head.status.as_u16()).unwrap());
        for (name, value) in &head.headers {
            answer.put_header(name.as_str(), value.as_bytes());
        }
        answer.write_content(body.collect().await.unwrap().to_bytes());
        let mut message = Vec::new();
        answer.write_bhttp(::bhttp::Mode::IndeterminateLength, &mut message).unwrap();
        let sent = Shared::default();
        let mut response = request.response(AllowStdIo::new(sent.clone())).unwrap();
        block_on(async {
            response.write_all(&message).await?;
            response.close().await
        })
        .unwrap();
        let sealed = std::mem::take(&mut *sent.0.lock().unwrap());
        Some(bytes(StatusCode::OK, ohttp::CHUNKED_RESPONSE_TYPE, sealed))
    }
}

/// Somewhere that the judge writes to.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer that is sealed as it comes.
struct Sealed {
    inner: AnswerBody,
    sealer: Option<ChunkSealer>,
    ready: VecDeque<Bytes>,
    /// A chunk that waits to change places with the next.
    kept: Option<Bytes>,
    trailer: Option<(Arc<Notary>, String)>,
    meddle: Meddle,
}

impl Sealed {
    fn piece(&mut self, content: &[u8]) {
        let (mut message, mut sealed) = (Vec::new(), Vec::new());
        write_content(content, &mut message);
        self.sealer.as_mut().unwrap().seal(&message, &mut sealed).unwrap();
        match self.meddle {
            Meddle::Tamper => *sealed.last_mut().unwrap() ^= 1,
            Meddle::Repeat => self.ready.push_back(sealed.clone().into()),
            Meddle::Oversize => sealed = vec![0x80, 0, 0x40, 0x11],
            Meddle::Swap => match self.kept.take() {
                None => {
                    self.kept = Some(sealed.into());
                    return;
                }
                Some(first) => {
                    self.ready.push_back(sealed.into());
                    self.ready.push_back(first);
                    return;
                }
            },
            _ => {}
        }
        self.ready.push_back(sealed.into());
    }

    fn end(&mut self) {
        let Some(sealer) = self.sealer.take() else { return };
        if self.meddle == Meddle::NoFinal {
            return;
        }
        let receipt = self.trailer.take().and_then(|(notary, id)| notary.carried(&id));
        let trailers: Vec<Field> = receipt.map(|receipt| Field::new("x-receipt", receipt)).into_iter().collect();
        let (mut message, mut sealed) = (Vec::new(), Vec::new());
        write_end(&trailers, &mut message);
        message.resize(4096, 0);
        sealer.finish(&message, &mut sealed).unwrap();
        self.ready.push_back(sealed.into());
    }
}

impl Body for Sealed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.sealer.is_none() {
                return Poll::Ready(None);
            }
            match std::task::ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => self.piece(&frame.into_data().unwrap()),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.end(),
            }
        }
    }
}

fn unknown_key() -> Response<AnswerBody> {
    problem(ohttp::KEY_PROBLEM)
}

fn problem(kind: &str) -> Response<AnswerBody> {
    let body = json!({"type": kind, "title": "no"}).to_string();
    bytes(StatusCode::BAD_REQUEST, "application/problem+json", body.into_bytes())
}

fn bytes(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<AnswerBody> {
    let mut answer = Response::new(Full::from(body).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    answer
}

fn header_map(fields: &[Field]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(
            HeaderName::from_bytes(field.name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(&field.value).unwrap(),
        );
    }
    headers
}

fn random() -> Random<impl FnMut(&mut [u8])> {
    Random(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap())
}
