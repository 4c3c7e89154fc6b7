//! One file per resource. The table of paths is [`super::router::ROUTES`].

pub mod captures;
pub mod health;
pub mod metrics;
pub mod openapi;
pub mod profile;
pub mod status;
