//! Databases whose connections change to TLS on the way.
//!
//! * [`PostgreSql`] reads how a client of PostgreSQL begins: SSLRequest, startup message, and how it logs in.
//! * [`MySql`] reads the greeting of MySQL and MariaDB, and what the client answers.

mod dissect;
mod mysql;
mod postgresql;
mod template;
#[cfg(test)]
mod tests;

pub use mysql::MySql;
pub use postgresql::PostgreSql;
pub use template::Limits;

veilwatch_core::declare_plugins!(
    protocol "postgresql" "PostgreSQL in clear: how it begins, and TLS behind SSLRequest": PostgreSql,
    protocol "mysql" "MySQL in clear: greeting and login, and TLS behind them": MySql
);
