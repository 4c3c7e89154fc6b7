//! A trace or a ledger on its way to a file: streamed, into `NAME.part` first, renamed when it is whole.

use std::path::{Path, PathBuf};

use reqwest::Method;
use reqwest::header::CONTENT_DISPOSITION;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::error::{ClientError, innermost};
use super::http::Client;
use super::types::Artifact;

/// Called as bytes arrive: how many so far, and how many there will be, where the sidecar knows.
pub type Progress<'a> = &'a mut (dyn FnMut(u64, Option<u64>) + Send);

/// What is to be fetched of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// `trace` or `iterations`: what stands behind the capture's id.
    pub resource: &'a str,
    /// In which format.
    pub format: &'a str,
    /// What a file of it ends in.
    pub extension: &'a str,
    /// One rank of it.
    pub rank: Option<u32>,
}

/// Where it came to lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

impl Client {
    /// Fetches it into the file `into`, or, where that is a folder, into a file in it with the name that the
    /// sidecar offers. An existing file is replaced only when the new one is whole.
    ///
    /// # Errors
    /// See [`ClientError`]; nothing is left behind then.
    pub async fn download(
        &self,
        id: &str,
        wanted: &Wanted<'_>,
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<Delivered, ClientError> {
        let response = self.open(id, wanted).await?;
        let path = if into.is_dir() { into.join(offered_name(&response, id, wanted)) } else { into.to_owned() };
        self.deliver(response, path, progress).await
    }

    /// Fetches one of its artefacts, as it lies there, into the folder `into` and under its own name.
    ///
    /// # Errors
    /// See [`ClientError`]; nothing is left behind then.
    pub async fn download_artifact(
        &self,
        id: &str,
        artifact: &Artifact,
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<Delivered, ClientError> {
        let name = artifact.name.as_str();
        if !is_plain(name) {
            let message = format!("{name:?} is no name for a file here");
            return Err(ClientError::Refused { status: 404, message, param: Some("name".into()), code: None });
        }
        let response = self.send(self.capture_request(Method::GET, id, &format!("/artifacts/{name}"))?).await?;
        self.deliver(response, into.join(name), progress).await
    }

    async fn deliver(
        &self,
        response: reqwest::Response,
        path: PathBuf,
        progress: Progress<'_>,
    ) -> Result<Delivered, ClientError> {
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |source| ClientError::File { path, source }
        };
        let mut part = path.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut file = tokio::fs::File::create(&part).await.map_err(file_error(&part))?;
        let outcome = copy(self.url(), response, &mut file, &part, progress).await;
        drop(file);
        let bytes = match outcome {
            Ok(bytes) => bytes,
            Err(error) => {
                let _ = tokio::fs::remove_file(&part).await;
                return Err(error);
            }
        };
        tokio::fs::rename(&part, &path).await.map_err(file_error(&path))?;
        Ok(Delivered { path, bytes })
    }

    /// Fetches it into anything that takes bytes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn download_to(
        &self,
        id: &str,
        wanted: &Wanted<'_>,
        sink: &mut (impl AsyncWrite + Unpin),
        progress: Progress<'_>,
    ) -> Result<u64, ClientError> {
        let response = self.open(id, wanted).await?;
        copy(self.url(), response, sink, Path::new("-"), progress).await
    }

    async fn open(&self, id: &str, wanted: &Wanted<'_>) -> Result<reqwest::Response, ClientError> {
        let resource = format!("/{}", wanted.resource);
        let mut request = self.capture_request(Method::GET, id, &resource)?.query(&[("format", wanted.format)]);
        if let Some(rank) = wanted.rank {
            request = request.query(&[("rank", rank)]);
        }
        self.send(request).await
    }
}

async fn copy(
    url: &str,
    mut response: reqwest::Response,
    sink: &mut (impl AsyncWrite + Unpin),
    path: &Path,
    progress: Progress<'_>,
) -> Result<u64, ClientError> {
    let total = response.content_length();
    let mut bytes = 0u64;
    let cut_short = |received_bytes, reason| ClientError::CutShort { url: url.to_owned(), received_bytes, reason };
    let file_error = |source| ClientError::File { path: path.to_owned(), source };
    while let Some(chunk) = response.chunk().await.map_err(|e| cut_short(bytes, innermost(&e)))? {
        sink.write_all(&chunk).await.map_err(file_error)?;
        bytes += chunk.len() as u64;
        progress(bytes, total);
    }
    sink.flush().await.map_err(file_error)?;
    Ok(bytes)
}

/// The file name that the sidecar offers, if it is a plain one, else one of our own.
fn offered_name(response: &reqwest::Response, id: &str, wanted: &Wanted<'_>) -> String {
    let Wanted { resource, extension, rank, .. } = wanted;
    let infix = if *resource == "trace" { String::new() } else { format!(".{resource}") };
    response
        .headers()
        .get(CONTENT_DISPOSITION)
        .and_then(|value| value.to_str().ok())
        .and_then(plain_file_name)
        .unwrap_or_else(|| match rank {
            Some(rank) => format!("stepscope-{id}.rank{rank}{infix}.{extension}"),
            None => format!("stepscope-{id}{infix}.{extension}"),
        })
}

/// Takes `filename` out of a Content-Disposition; only a name that can't leave its folder or hide in it.
fn plain_file_name(disposition: &str) -> Option<String> {
    let (_, name) = disposition.split_once("filename=")?;
    let name = name.split(';').next()?.trim().trim_matches('"');
    is_plain(name).then(|| name.to_owned())
}

/// Whether it can neither leave its folder nor hide in it.
fn is_plain(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    plain && name.len() <= 255 && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::plain_file_name;

    #[test]
    fn a_name_that_would_leave_its_folder_is_not_taken() {
        assert_eq!(plain_file_name("attachment; filename=\"a-1.json.gz\"").as_deref(), Some("a-1.json.gz"));
        for bad in
            ["attachment", "x; filename=\"../a\"", "x; filename=/etc/passwd", "x; filename=.bashrc", "x; filename=\"\""]
        {
            assert_eq!(plain_file_name(bad), None, "{bad}");
        }
    }
}
