//! HTTPS in front: what passes says so, and TLS ends at the sidecar.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use stepscope::config::Settings;
use stepscope::service::Server;
use stepscope::service::compose::options;
use stepscope::telemetry::nvml::Gpus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::support::Engine;

fn certificate(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/certificates").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_over_tls_passes_in_plain_and_says_https() {
    let engine = Engine::echo();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::copy(certificate("first.key"), &key).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let settings = Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        dir: folder.path().join("segments"),
        data: folder.path().join("data"),
        tls_cert: Some(certificate("first.pem")),
        tls_key: Some(key),
        upstream: Some(format!("http://{}", engine.address)),
        ..Settings::default()
    };
    let captures = stepscope::capture::open(options(&settings)).unwrap();
    let server = Server::bind(settings, captures, Gpus::none("not asked")).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async move { drop(stopped.await) }));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate("authority.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("x-forwarded-proto: https\r\n"), "{answer}");
    drop(stream);
    stop.send(()).unwrap();
    task.await.unwrap();
}
