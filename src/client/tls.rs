//! Whose certificates the client trusts, and what is wrong with one it does not.
//!
//! Those that the system trusts (`SSL_CERT_FILE` names others), or those of a file alone. Called by [`super::http`] and
//! [`super::error`].

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// With `is_needed` false nobody is trusted, and nothing is read: plain HTTP asks for no certificates.
pub(super) fn config(is_needed: bool, trusted: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match trusted {
        _ if !is_needed => {}
        Some(path) => {
            let wrong = |reason: &str| format!("certificates of {}: {reason}", path.display());
            let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error.to_string()))?;
            for certificate in read {
                let certificate = certificate.map_err(|error| wrong(&error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(&error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("there is none in it: it has to be PEM"));
            }
        }
        // What can't be read is not trusted; the handshake says so.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What is wrong with the sidecar's certificate, and what mends it; none if that is not what `error` is about.
pub(super) fn obstacle(error: &(dyn std::error::Error + 'static)) -> Option<(String, String)> {
    let certificate = match within(error)? {
        rustls::Error::InvalidCertificate(certificate) => certificate,
        rustls::Error::AlertReceived(alert) => {
            return Some((format!("it ended the TLS handshake ({alert:?})"), "its log says more".to_owned()));
        }
        rustls::Error::InvalidMessage(_) => {
            let mend = "does it speak plain HTTP? then the URL begins with http://";
            return Some(("it does not speak TLS".to_owned(), mend.to_owned()));
        }
        other => return Some((other.to_string(), "its log says more".to_owned())),
    };
    Some(match certificate {
        CertificateError::UnknownIssuer => (
            "nobody who is trusted here has signed its certificate".to_owned(),
            "name the certificate that has with --cacert or STEPSCOPE_CACERT".to_owned(),
        ),
        CertificateError::NotValidForNameContext { expected, presented } => (
            format!("its certificate is not for {}", expected.to_str()),
            format!("call it by a name that it is for: {}", presented.join(", ")),
        ),
        CertificateError::ExpiredContext { .. } | CertificateError::Expired => {
            ("its certificate has run out".to_owned(), "renew it and send the sidecar a SIGHUP".to_owned())
        }
        CertificateError::NotValidYetContext { .. } | CertificateError::NotValidYet => {
            ("its certificate is not valid yet".to_owned(), "are the clocks of both machines right?".to_owned())
        }
        other => (format!("its certificate is refused: {other}"), "give it another one".to_owned()),
    })
}

/// The error of TLS somewhere below. One inside an I/O error is not its source.
fn within<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            return within(inner);
        }
        at = error.source();
    }
    None
}
