//! Accounts of a provider.
