//! Device keys on the envelope: who is let in, and every way of not being let in.

use std::time::{SystemTime, UNIX_EPOCH};

use deployment::{Access, Clients, Device as Listed, Enrolment, Token, Wires, token};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use protocol::envelope::{AnswerOpener, Device, DeviceAlgorithm, DeviceSigner, KeyPage, Message, Request, seal};
use protocol::hpke::Random;
use protocol::receipt::Verified;
use protocol::receipt::event::Place;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::client::{Reply, chat, post};
use crate::server::{Server, Setup};

/// A phone with an Ed25519 key.
struct Phone(Ed25519KeyPair);

impl Phone {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key"))
    }

    fn device(&self) -> Device {
        Device { algorithm: DeviceAlgorithm::Ed25519, key: self.0.public_key().as_ref().to_vec() }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

fn server(enrolment: Enrolment, change: impl FnOnce(&mut Clients)) -> Server {
    let mut clients = Clients { enrolment, ..Clients::of(Access::Device) };
    change(&mut clients);
    let wires = Wires { envelope: true, ..Wires::default() };
    Server::start(Setup { wires, clients: Some(clients), ..Setup::default() })
}

fn one_time(byte: u8) -> (String, Token) {
    let text = token::text(&[byte; 32]).to_string();
    let sha256 = token::digest(&text).expect("a token");
    (text, Token { name: format!("token-{byte}"), sha256 })
}

/// A chat request for the server's current key, signed as `signer` says.
async fn sealed(server: &Server, signer: Option<DeviceSigner<'_>>) -> (Message, AnswerOpener) {
    let page: KeyPage = serde_json::from_slice(&server.get("/api/pubkey").await.body).expect("a key page");
    let mut random = Random(|bytes: &mut [u8]| getrandom::fill(bytes).expect("random bytes"));
    let mut rid = [0; 16];
    getrandom::fill(&mut rid).expect("random bytes");
    let ts = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let (content, rid) = (chat(&json!({"stream": true})), hex::encode(rid));
    let request = Request { content: content.as_bytes(), rid: &rid, ts, device: signer };
    seal(&page.current, &request, &mut random).expect("sealed")
}

async fn by(server: &Server, phone: &Phone, enrolment: Option<&str>) -> (Message, AnswerOpener) {
    let sign = |message: &[u8]| phone.sign(message);
    sealed(server, Some(DeviceSigner { device: phone.device(), sign: &sign, enrolment })).await
}

async fn send(server: &Server, message: &Message) -> Reply {
    server.send(post("/api/chat", message.to_json())).await
}

/// The answer, and the receipt in its last event.
fn opened(mut opener: AnswerOpener, reply: &Reply) -> (String, String) {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let (mut answer, mut receipt) = (Vec::new(), Vec::new());
    for event in reply.events() {
        let piece = opener.open(event.as_bytes()).expect("opened");
        if opener.is_complete() { receipt.extend_from_slice(&piece) } else { answer.extend_from_slice(&piece) }
    }
    opener.finish().expect("the last event has come");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8").trim_end().to_owned();
    (text(answer), text(receipt))
}

fn refused(reply: &Reply) {
    assert_eq!(reply.error(), (401, "invalid_device".to_owned()));
}

#[tokio::test]
async fn a_listed_device_is_a_tenant_of_its_own_and_others_are_refused() {
    let (phone, other) = (Phone::new(1), Phone::new(2));
    let server = server(Enrolment::List, |clients| {
        clients.devices = vec![Listed { name: "phone".to_owned(), id: phone.device().id() }];
    });
    for counter in 0..2 {
        let (message, opener) = by(&server, &phone, None).await;
        let (answer, receipt) = opened(opener, &send(&server, &message).await);
        assert!(answer.contains("[DONE]"));
        let receipt = Verified::check(receipt.as_bytes(), &server.identity.published().keyset).expect("a receipt");
        let place: Place = receipt.event().expect("well formed").expect("a chain of its own");
        assert_eq!(place.counter, counter);
        let path = format!("/v1/aci/receipts/{}", receipt.head().receipt_id);
        assert_eq!(server.get(&path).await.error(), (401, "unauthorized".to_owned()), "nobody else fetches it");
    }
    refused(&send(&server, &by(&server, &other, None).await.0).await);
    refused(&send(&server, &by(&server, &other, Some("lth_")).await.0).await);
    refused(&send(&server, &sealed(&server, None).await.0).await);
    assert_eq!(server.engine.seen.lock().unwrap().len(), 2, "nothing else was processed");
    assert_eq!(server.chat(json!({})).await.error(), (401, "invalid_api_key".to_owned()), "there is no other way in");
}

#[tokio::test]
async fn a_device_with_a_p256_key_is_let_in() {
    let (random, form) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
    let document = EcdsaKeyPair::generate_pkcs8(form, &random).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(form, document.as_ref(), &random).expect("a key");
    let device = Device { algorithm: DeviceAlgorithm::P256, key: key.public_key().as_ref().to_vec() };
    let sign = |message: &[u8]| key.sign(&random, message).expect("signed").as_ref().to_vec();
    let server = server(Enrolment::Any, |_| ());
    let (message, opener) = sealed(&server, Some(DeviceSigner { device, sign: &sign, enrolment: None })).await;
    assert!(opened(opener, &send(&server, &message).await).0.contains("[DONE]"));
}

#[tokio::test]
async fn a_wrong_signature_is_refused_whatever_is_changed_and_wherever_devices_count() {
    let (phone, other) = (Phone::new(1), Phone::new(2));
    let server = server(Enrolment::Any, |_| ());
    let (message, opener) = by(&server, &phone, None).await;
    let (donor, _) = by(&server, &phone, None).await;
    let good: Value = serde_json::from_slice(&message.to_json()).expect("JSON");
    let donor: Value = serde_json::from_slice(&donor.to_json()).expect("JSON");
    let post_changed = async |change: &dyn Fn(&mut Value)| {
        let mut message = good.clone();
        change(&mut message);
        server.send(post("/api/chat", message.to_string())).await
    };
    refused(&post_changed(&|message| message["device"]["signature"] = donor["device"]["signature"].clone()).await);
    refused(&post_changed(&|message| message["enc"] = donor["enc"].clone()).await);
    // another rid, time or key does not fit the additional data, which is looked at first
    for member in ["rid", "kid", "aad"] {
        let reply = post_changed(&|message| message[member] = "AAECAwQFBgcICQoL".into()).await;
        assert_eq!(reply.error(), (400, "undecryptable".to_owned()), "{member}");
    }
    refused(&post_changed(&|message| message["device"]["alg"] = "p256".into()).await);
    refused(&post_changed(&|message| drop(message.as_object_mut().expect("members").remove("device"))).await);
    let stolen = {
        let sign = |message: &[u8]| other.sign(message);
        sealed(&server, Some(DeviceSigner { device: phone.device(), sign: &sign, enrolment: None })).await.0
    };
    refused(&send(&server, &stolen).await);
    // the ciphertext is not signed: whoever did not seal it cannot make another for the same encapsulated key
    let swapped = post_changed(&|message| message["ciphertext"] = donor["ciphertext"].clone()).await;
    assert_eq!(swapped.error(), (400, "undecryptable".to_owned()));
    assert!(server.engine.seen.lock().unwrap().is_empty());
    assert!(opened(opener, &send(&server, &message).await).0.contains("[DONE]"), "the unchanged one still counts");

    let anyone = Server::start(Setup { wires: Wires { envelope: true, ..Wires::default() }, ..Setup::default() });
    let sign = |message: &[u8]| other.sign(message);
    let signer = DeviceSigner { device: phone.device(), sign: &sign, enrolment: None };
    refused(&send(&anyone, &sealed(&anyone, Some(signer)).await.0).await);
    assert_eq!(send(&anyone, &by(&anyone, &phone, None).await.0).await.status, 200);
}

#[tokio::test]
async fn a_one_time_token_enrols_one_device() {
    let ((good, listed), (unknown, _)) = (one_time(1), one_time(2));
    let server = server(Enrolment::Token, |clients| clients.enrolments = vec![listed]);
    let (phone, other) = (Phone::new(1), Phone::new(2));
    refused(&send(&server, &by(&server, &phone, None).await.0).await);
    for wrong in [unknown.as_str(), "one-time-token", ""] {
        let (message, _) = by(&server, &phone, Some(wrong)).await;
        for _ in 0..2 {
            // not counted and not sealed: sealed answers to one message would share their nonces
            refused(&send(&server, &message).await);
        }
    }
    assert!(server.engine.seen.lock().unwrap().is_empty());

    let (message, opener) = by(&server, &phone, Some(&good)).await;
    let captured = message.to_json();
    assert!(opened(opener, &send(&server, &message).await).0.contains("[DONE]"));
    let (again, opener) = by(&server, &phone, None).await;
    assert!(opened(opener, &send(&server, &again).await).0.contains("[DONE]"), "from now on without it");
    // the token again: by another device, and by whoever saw the message
    let (stolen, _) = by(&server, &other, Some(&good)).await;
    refused(&send(&server, &stolen).await);
    let mut moved: Value = serde_json::from_slice(&by(&server, &other, Some("x")).await.0.to_json()).expect("JSON");
    let captured: Value = serde_json::from_slice(&captured).expect("JSON");
    moved["device"]["enrolment"] = captured["device"]["enrolment"].clone();
    let moved = server.send(post("/api/chat", moved.to_string())).await;
    assert_eq!(moved.error(), (400, "undecryptable".to_owned()), "it is sealed to its own message");
    refused(&send(&server, &by(&server, &other, None).await.0).await);
    assert_eq!(server.engine.seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn where_both_count_either_lets_in_and_a_wrong_token_is_not_made_good_by_a_device() {
    let (bearer, listed) = one_time(1);
    let phone = Phone::new(1);
    let server = server(Enrolment::Any, |clients| {
        clients.access = Access::Both;
        clients.tokens = vec![listed];
    });
    let with = |message: &Message, token: &str| {
        let mut request = post("/api/chat", message.to_json());
        let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a value");
        request.headers_mut().insert(AUTHORIZATION, value);
        request
    };
    let (message, opener) = sealed(&server, None).await;
    assert!(opened(opener, &server.send(with(&message, &bearer)).await).0.contains("[DONE]"));
    let (message, opener) = by(&server, &phone, None).await;
    assert!(opened(opener, &send(&server, &message).await).0.contains("[DONE]"));
    refused(&send(&server, &sealed(&server, None).await.0).await);
    let (message, _) = by(&server, &phone, None).await;
    let wrong = server.send(with(&message, &one_time(2).0)).await;
    assert_eq!(wrong.error(), (401, "invalid_api_key".to_owned()));
    assert_eq!(server.chat(json!({})).await.error(), (401, "invalid_api_key".to_owned()));
}

#[tokio::test]
async fn a_signature_does_not_stand_for_a_token_where_the_document_takes_tokens_alone() {
    let (bearer, listed) = one_time(1);
    let phone = Phone::new(1);
    let server = server(Enrolment::Any, |clients| {
        clients.access = Access::Token;
        clients.tokens = vec![listed];
        clients.devices = vec![Listed { name: "phone".to_owned(), id: phone.device().id() }];
    });
    let (message, opener) = by(&server, &phone, None).await;
    assert_eq!(send(&server, &message).await.error(), (401, "invalid_api_key".to_owned()));
    assert!(server.engine.seen.lock().unwrap().is_empty());
    let mut request = post("/api/chat", message.to_json());
    let value = HeaderValue::from_str(&format!("Bearer {bearer}")).expect("a value");
    request.headers_mut().insert(AUTHORIZATION, value);
    assert!(
        opened(opener, &server.send(request).await).0.contains("[DONE]"),
        "with the token it is a request like others"
    );
}

#[tokio::test]
async fn a_devices_message_that_comes_again_has_no_receipt_and_no_place_in_its_chain() {
    let phone = Phone::new(1);
    let server = server(Enrolment::Any, |_| ());
    let place = |receipt: &str| {
        let receipt = Verified::check(receipt.as_bytes(), &server.identity.published().keyset).expect("a receipt");
        receipt.event::<Place>().expect("well formed").expect("a chain").counter
    };
    let (message, opener) = by(&server, &phone, None).await;
    assert_eq!(place(&opened(opener, &send(&server, &message).await).1), 0);
    let again = send(&server, &message).await;
    assert_eq!((again.error(), again.header("x-receipt-id")), ((400, "undecryptable".to_owned()), ""));
    let (message, opener) = by(&server, &phone, None).await;
    assert_eq!(place(&opened(opener, &send(&server, &message).await).1), 1, "whoever saw it makes no gap");
}
