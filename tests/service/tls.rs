//! HTTPS, from handshake to reload, as our own client and raw sockets see it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stepscope::client::{Client, ClientError};
use stepscope::config::Settings;
use stepscope::service::Server;
use stepscope::service::reload::reload;
use stepscope::service::state::AppState;
use stepscope::service::tls::{Tls, TlsError};
use stepscope::telemetry::nvml::Gpus;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::support::session;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/certificates").join(name)
}

/// A certificate and its key in a folder, the key closed to others.
fn put(folder: &Path, name: &str) -> Settings {
    let (certificate, key) = (folder.join("tls.pem"), folder.join("tls.key"));
    std::fs::copy(fixture(&format!("{name}.pem")), &certificate).unwrap();
    std::fs::copy(fixture(&format!("{name}.key")), &key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    Settings { tls_cert: Some(certificate), tls_key: Some(key), listen, ..Settings::default() }
}

struct Running {
    address: SocketAddr,
    state: AppState,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    folder: TempDir,
    _session: TempDir,
}

async fn serve(name: &str) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let (captures, session) = session();
    let server = Server::bind(put(folder.path(), name), captures, Gpus::none("not asked")).await.unwrap();
    let (address, state) = (server.address(), server.state().clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async move { drop(stopped.await) }));
    Running { address, state, stop, task, folder, _session: session }
}

impl Running {
    fn client(&self, host: &str, trusted: Option<&str>) -> Client {
        let url = format!("https://{host}:{}", self.address.port());
        Client::trusting(&url, None, trusted.map(fixture).as_deref()).unwrap()
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

async fn refused(client: &Client) -> String {
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NotTrusted { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_trusts_who_it_is_told_to_and_says_what_is_wrong_with_others() {
    let running = serve("first").await;
    for host in ["localhost", "127.0.0.1"] {
        let status = running.client(host, Some("authority.pem")).status().await.unwrap();
        assert_eq!(status.value.version, env!("CARGO_PKG_VERSION"));
    }
    let untrusted = refused(&running.client("localhost", None)).await;
    assert!(untrusted.contains("--cacert"), "{untrusted}");
    let other = refused(&running.client("localhost", Some("second.pem"))).await;
    assert!(other.contains("nobody who is trusted"), "{other}");
    running.end().await;
    let elsewhere = serve("elsewhere").await;
    let named = refused(&elsewhere.client("localhost", Some("authority.pem"))).await;
    assert!(named.contains("not for localhost") && named.contains("elsewhere.example"), "{named}");
    elsewhere.end().await;
    for wrong in ["nothing.pem", "first.key"] {
        let error = Client::trusting("https://localhost:1", None, Some(&fixture(wrong))).unwrap_err();
        assert!(matches!(error, ClientError::BadCertificates(_)), "{error}");
        assert!(
            Client::trusting("http://localhost:1", None, Some(&fixture(wrong))).is_ok(),
            "plain HTTP asks for none"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_to_a_port_that_speaks_tls_is_told_so() {
    let running = serve("first").await;
    let client = Client::new(&format!("http://127.0.0.1:{}", running.address.port()), None).unwrap();
    let error = client.status().await.unwrap_err();
    assert!(matches!(&error, ClientError::SpeaksHttps { https, .. } if https.starts_with("https://")), "{error:?}");
    let address = running.address;
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = answer.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("speaks_https"), "{answer}");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_stand_still_keep_nobody_out_and_hold_up_no_shutdown() {
    let running = serve("first").await;
    let address = running.address;
    let silent: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut stream = TcpStream::connect(address).unwrap();
            if n % 2 == 0 {
                stream.write_all(&[22, 3, 1, 2, 0, 1]).unwrap(); // the beginning of a hello
            }
            stream
        })
        .collect();
    running.client("localhost", Some("authority.pem")).status().await.unwrap();
    // Were it to wait for them, it would wait out its patience, and longer than this.
    tokio::time::timeout(Duration::from_secs(8), running.end()).await.unwrap();
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_read_again_and_a_broken_one_changes_nothing() {
    let running = serve("first").await;
    let folder = running.folder.path().to_path_buf();
    let presented = |running: &Running| {
        let address = running.address;
        tokio::task::spawn_blocking(move || certificate_of(address))
    };
    let der = |name: &str| {
        use rustls::pki_types::pem::PemObject;
        rustls::pki_types::CertificateDer::from_pem_file(fixture(name)).unwrap().to_vec()
    };
    assert_eq!(presented(&running).await.unwrap(), der("first.pem"));
    std::fs::write(folder.join("tls.pem"), "broken").unwrap();
    reload(&running.state);
    assert_eq!(presented(&running).await.unwrap(), der("first.pem"));
    std::fs::copy(fixture("second.pem"), folder.join("tls.pem")).unwrap();
    reload(&running.state);
    assert_eq!(presented(&running).await.unwrap(), der("first.pem"), "its key is not there yet");
    put(&folder, "second");
    reload(&running.state);
    assert_eq!(presented(&running).await.unwrap(), der("second.pem"));
    running.client("localhost", Some("authority.pem")).status().await.unwrap();
    running.end().await;
}

/// What the server shows, and that it speaks HTTP/1.1 there.
fn certificate_of(address: SocketAddr) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(fixture("authority.pem")).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = "localhost".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
    connection.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn what_is_wrong_with_certificate_or_key_is_said_before_anything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let fine = put(folder.path(), "first");
    assert!(Tls::of(&fine).unwrap().is_some());
    assert!(Tls::of(&Settings::default()).unwrap().is_none());
    let key = fine.tls_key.clone().unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = Tls::of(&fine).unwrap_err();
    assert!(matches!(open, TlsError::Key { .. }) && open.to_string().contains("chmod"), "{open}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let with = |certificate: &str| Settings { tls_cert: Some(fixture(certificate)), ..fine.clone() };
    assert!(matches!(Tls::of(&with("second.pem")), Err(TlsError::Pair { .. })), "another's key");
    assert!(matches!(Tls::of(&with("first.key")), Err(TlsError::Certificate { .. })), "no certificate in it");
    assert!(matches!(Tls::of(&with("nothing.pem")), Err(TlsError::Certificate { .. })));
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n").unwrap();
    let broken = Tls::of(&fine).unwrap_err().to_string();
    assert!(!broken.contains("hush"), "{broken}");
    let alone = Settings { tls_key: None, ..fine };
    assert!(alone.checked().unwrap_err().to_string().contains("go together"));
}
