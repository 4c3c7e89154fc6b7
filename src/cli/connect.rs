//! The client that a subcommand's arguments ask for.

use super::arguments::ConnectArguments;
use crate::client::{Client, ClientError};

impl ConnectArguments {
    /// Nothing is sent yet.
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        // An empty variable is an unset one.
        let token = self.token.clone().filter(|t| !secrecy::ExposeSecret::expose_secret(t).is_empty());
        Client::trusting(&self.url, token, self.cacert.as_deref())
    }
}

/// Prints JSON as it came, with a newline at its end.
pub(super) fn print_json(json: &str) {
    println!("{}", json.trim_end());
}
