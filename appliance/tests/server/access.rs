//! Who may ask, and where.

use deployment::token;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde_json::json;

use crate::client::{Reply, chat, get, post};
use crate::server::{Server, Setup};

async fn ask(server: &Server, authorization: Option<&str>) -> Reply {
    let mut request = post("/v1/chat/completions", chat(&json!({})));
    if let Some(value) = authorization {
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(value).expect("value"));
    }
    server.send(request).await
}

#[tokio::test]
async fn a_token_of_the_document_is_needed_and_enough() {
    let (good, wrong) = (token::text(&[1; 32]), token::text(&[2; 32]));
    let server = Server::start(Setup { tokens: vec![good.to_string()], ..Setup::default() });
    assert_eq!(ask(&server, Some(&format!("Bearer {}", *good))).await.status, 200);

    let absent = ask(&server, None).await;
    let other = ask(&server, Some(&format!("Bearer {}", *wrong))).await;
    let malformed = ask(&server, Some("Bearer password")).await;
    for reply in [&absent, &other, &malformed] {
        assert_eq!(reply.error(), (401, "invalid_api_key".to_owned()));
        assert_eq!(reply.header("www-authenticate"), "Bearer");
        assert_eq!(reply.body, absent.body, "the same body for all");
    }
}

#[tokio::test]
async fn models_need_a_token_and_health_and_evidence_do_not() {
    let good = token::text(&[1; 32]);
    let server = Server::start(Setup { tokens: vec![good.to_string()], ..Setup::default() });
    assert_eq!(server.get("/v1/models").await.status, 401);
    assert_eq!(server.get("/v1/models/small").await.status, 401);
    assert_eq!(server.get("/health").await.status, 200);
    assert_eq!(server.get("/v1/aci/attestation").await.status, 200);
    let mut request = get("/v1/models");
    let value = format!("Bearer {}", *good);
    request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&value).expect("value"));
    assert_eq!(server.send(request).await.status, 200);
}

#[tokio::test]
async fn a_body_without_a_token_is_refused_before_it_is_looked_at() {
    let good = token::text(&[1; 32]);
    let server = Server::start(Setup { tokens: vec![good.to_string()], ..Setup::default() });
    let reply = server.send(post("/v1/chat/completions", vec![b'{'; 2_000_000])).await;
    assert_eq!(reply.error(), (401, "invalid_api_key".to_owned()));
}

#[tokio::test]
async fn unknown_paths_methods_and_queries_are_refused() {
    let server = Server::say(&["a"]);
    assert_eq!(server.get("/").await.error(), (404, "unknown_url".to_owned()));
    assert_eq!(server.get("/v1/embeddings").await.error(), (404, "unknown_url".to_owned()));
    let reply = server.get("/v1/chat/completions").await;
    assert_eq!((reply.error(), reply.header("allow")), ((405, "method_not_allowed".to_owned()), "POST"));
    let reply = server.send(post("/health", "")).await;
    assert_eq!((reply.error(), reply.header("allow")), ((405, "method_not_allowed".to_owned()), "GET"));
    assert_eq!(server.get("/health?x=1").await.error(), (400, "unknown_parameter".to_owned()));
    let reply = server.send(post("/v1/chat/completions?api-version=1", chat(&json!({})))).await;
    assert_eq!(reply.error(), (400, "unknown_parameter".to_owned()));
}
