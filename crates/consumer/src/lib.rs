//! Stub: see the workspace README.
