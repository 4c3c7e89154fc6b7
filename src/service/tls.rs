//! TLS in front of HTTP: certificate and key, read again on SIGHUP, and the handshake.
//!
//! Each handshake is the connection's own task, within [`HANDSHAKE`]: a slow one keeps nobody from being accepted. Whoever
//! speaks plain HTTP to this port is told so in plain HTTP. HTTP/1.1 is all that is offered (ALPN). Called by
//! [`super::connections`]; made by [`super::door`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::error::ApiError;
use crate::config::{Settings, private_file};

/// How long a client may take to agree on a secret.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// First byte of every TLS connection: a record that holds a handshake.
const IS_TLS: u8 = 22;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate can't be read.
    #[error("TLS certificate {}: {reason}", path.display())]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key can't be read.
    #[error("TLS key {}: {reason}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// They do not go together, or are of a kind that nobody speaks.
    #[error("TLS certificate {} and key {} can't be used: {source}", certificate.display(), key.display())]
    Pair {
        /// Which certificate.
        certificate: PathBuf,
        /// Which key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// What new connections are served with.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// None unless the settings name a certificate.
    pub fn of(settings: &Settings) -> Result<Option<Self>, TlsError> {
        let (Some(certificate), Some(key)) = (settings.tls_cert.clone(), settings.tls_key.clone()) else {
            return Ok(None);
        };
        let config = RwLock::new(read(&certificate, &key)?);
        Ok(Some(Self { certificate, key, config }))
    }

    /// Reads both files again. What can't be used changes nothing; connections that are open keep what they have.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = read(&self.certificate, &self.key)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// The handshake on a connection that was just accepted. None when it came to nothing.
    pub async fn shake<S>(&self, stream: TcpStream, wrap: impl FnOnce(TcpStream) -> S) -> Option<Box<dyn Duplex>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        let shake = async {
            let mut first = [0];
            if stream.peek(&mut first).await.ok()? > 0 && first[0] != IS_TLS {
                speaks_tls(wrap(stream)).await;
                return None;
            }
            match TlsAcceptor::from(config).accept(wrap(stream)).await {
                Ok(stream) => Some(Box::new(stream) as Box<dyn Duplex>),
                Err(error) => {
                    tracing::debug!("a TLS handshake came to nothing: {error}");
                    None
                }
            }
        };
        tokio::time::timeout(HANDSHAKE, shake).await.unwrap_or_else(|_late| {
            tracing::debug!("a TLS handshake took longer than {} s", HANDSHAKE.as_secs());
            None
        })
    }
}

/// Either kind of connection.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |reason: String| TlsError::Certificate { path: certificate.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(words(&error)))?;
    if chain.is_empty() {
        return Err(wrong("holds no certificate: it has to be PEM, the server's own first, then its chain".to_owned()));
    }
    let wrong = |reason: String| TlsError::Key { path: key.to_owned(), reason };
    let text = private_file::read(key).map_err(wrong)?;
    let secret = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| wrong(words(&error)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|source| TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), source })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What is wrong with a PEM file, and not what stands in it.
fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "holds nothing of that kind: it has to be PEM".to_owned(),
        _ => "is no PEM that can be read".to_owned(),
    }
}

/// Plain HTTP to a port that speaks TLS: an answer in plain HTTP, and the end of the connection.
async fn speaks_tls(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (status, body) = ApiError::SpeaksHttps.shown();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    if stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await.is_err()
        || stream.shutdown().await.is_err()
    {
        return;
    }
    // Closed with something unread, the kernel would take the answer back.
    let mut rest = [0; 4096];
    for _ in 0..64 {
        if !stream.read(&mut rest).await.is_ok_and(|read| read > 0) {
            return;
        }
    }
}
