//! The tokens this service knows, and whose one is that a request brings.
//!
//! Only hashes are kept and compared, each of them every time, so that how long it takes tells nothing of a token. A
//! token's entropy is what protects its hash in the file: they are drawn by chance, not chosen. Called by
//! [`super::caller`]; made anew by [`super::reload`].

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::tokens::{self, NamedToken, Right, Secret};
use crate::config::{Settings, SettingsError};

/// The name of the one token that `token` or `token_file` sets; it may do all.
pub const ONE: &str = "token";

/// A token that was recognised.
#[derive(Debug, Clone)]
pub struct Token {
    /// Whose it is.
    pub name: Arc<str>,
    /// What it is good for.
    pub rights: Vec<Right>,
    hash: [u8; 32],
}

/// All of them; none means that nobody is asked.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Reads what the settings say, and the files they name.
    pub fn of(settings: &Settings) -> Result<Self, SettingsError> {
        let one = settings.bearer_token()?;
        let many = settings.tokens_file.as_deref().map(tokens::read).transpose()?.unwrap_or_default();
        let path = settings.tokens_file.clone().unwrap_or_default();
        Self::new(one, many).map_err(|reason| SettingsError::Token { path, reason })
    }

    /// One that may do all, and others. Two of one name, or of one secret, are an error: nobody could tell them apart.
    pub fn new(one: Option<SecretString>, many: Vec<NamedToken>) -> Result<Self, String> {
        let one = one.map(|token| Token {
            name: ONE.into(),
            rights: Right::ALL.to_vec(),
            hash: hash(token.expose_secret().as_bytes()),
        });
        let mut all: Vec<Token> = one.into_iter().collect();
        for NamedToken { name, secret, rights } in many {
            let hash = match secret {
                Secret::Plain(token) => hash(token.expose_secret().as_bytes()),
                Secret::Sha256(hash) => hash,
            };
            if let Some(other) = all.iter().find(|other| *other.name == *name || other.hash == hash) {
                return Err(format!(
                    "{name} and {} have one name, or one token: nobody could tell them apart",
                    other.name
                ));
            }
            all.push(Token { name: name.into(), rights, hash });
        }
        Ok(Self(all))
    }

    /// Whether callers have to say who they are.
    pub fn are_asked_for(&self) -> bool {
        !self.0.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whose token this is.
    pub fn find(&self, brought: &[u8]) -> Option<&Token> {
        let brought = hash(brought);
        let mut found = 0u32;
        for (number, token) in (1u32..).zip(&self.0) {
            let same: Choice = token.hash.ct_eq(&brought);
            found.conditional_assign(&number, same);
        }
        self.0.get(found.checked_sub(1)? as usize)
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
