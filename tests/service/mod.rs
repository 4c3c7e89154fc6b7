//! HTTP without an engine: bodies, routes, guard, documents, settings.
