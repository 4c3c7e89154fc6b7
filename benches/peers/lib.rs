//! Empty: this package is its benchmark.
