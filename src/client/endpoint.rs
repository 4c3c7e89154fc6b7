//! Where a profiler is to be called, from what people have at hand: the address of an inference endpoint.
//!
//! Profiling routes lie at a server's root, or below a gateway's prefix: a `/v1` at the end, and slashes, are not part of
//! that. `http://h:8000/v1/` and `http://h:8000` are one; `http://h/gateway/api/v1` is `http://h/gateway/api`.

use reqwest::Url;

/// An address that can't be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not an address that works here: {reason}")]
pub struct BadEndpoint {
    /// As it was given, without what may be secret in it.
    pub given: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The base below which profiling routes lie, without a slash at its end.
///
/// # Errors
/// [`BadEndpoint`].
pub fn base(given: &str) -> Result<String, BadEndpoint> {
    let bad = |shown: &str, reason: &str| BadEndpoint { given: shown.to_owned(), reason: reason.to_owned() };
    let given = given.trim();
    let mut url = match Url::parse(given) {
        Ok(url) => url,
        Err(error) if given.contains("://") => return Err(bad(given, &error.to_string())),
        Err(_) => return Err(bad(given, "it has to begin with http:// or https://")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        let (name, password) = (url.set_username(""), url.set_password(None));
        let shown = if name.is_ok() && password.is_ok() { url.as_str() } else { "an address" };
        return Err(bad(shown, "it holds a name or a password: give the address alone, and a token beside it"));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(given, "it has to begin with http:// or https://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad(given, "it names no host"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad(given, "it has a query or a fragment: give the address alone"));
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/v1").unwrap_or(path).trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn slashes_and_the_version_at_the_end_are_taken_off_and_prefixes_kept() {
        for (given, wanted) in [
            ("http://h:8000", "http://h:8000"),
            ("http://h:8000/", "http://h:8000"),
            ("http://h:8000/v1", "http://h:8000"),
            ("http://h:8000/v1//", "http://h:8000"),
            (" http://H:8000/v1 ", "http://h:8000"),
            ("http://h/gateway/api/v1", "http://h/gateway/api"),
            ("http://h/gateway/api/v1/", "http://h/gateway/api"),
            ("http://h/v1/gateway", "http://h/v1/gateway"),
            ("https://h/v1", "https://h"),
            ("http://h/apiv1", "http://h/apiv1"),
            ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ] {
            assert_eq!(base(given).unwrap(), wanted, "{given}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_meant_is_refused_with_a_reason() {
        for (given, reason) in [
            ("localhost:8000", "begin with http://"),
            ("h", "begin with http://"),
            ("ftp://h", "begin with http://"),
            ("http://", "host"),
            ("http://u:secret@h", "a name or a password"),
            ("http://h?a=b", "a query"),
            ("http://h/#x", "a fragment"),
            ("http://h:99999", "port"),
        ] {
            let error = base(given).unwrap_err();
            assert!(error.reason.contains(reason), "{given}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
