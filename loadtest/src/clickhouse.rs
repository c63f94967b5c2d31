//! Questions to ClickHouse over plain HTTP: enough to count rows, and independent of the code under test.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::exchange;

/// For one query to be answered.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the rows are.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    /// The server.
    pub address: SocketAddr,
    /// The database.
    pub database: String,
    /// The table or view with the columns that [`crate::ledger`] compares.
    pub table: String,
    /// The user; empty for the default one.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

/// What came back.
#[derive(Debug)]
pub struct Answered {
    /// Lines of tab-separated values.
    pub text: String,
    /// What the query took, as JSON.
    pub summary: Option<String>,
}

/// A text that does not print.
#[derive(Clone, Default)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret(text.to_owned())
    }
}

impl ClickHouse {
    /// Asks `sql`; the answer is lines of tab-separated values.
    pub async fn query(&self, sql: &str) -> anyhow::Result<String> {
        Ok(self.ask(sql, QUERY_TIMEOUT).await?.text)
    }

    /// The same for what may take longer, with what it took. Tables without a database are those of this one.
    pub async fn ask(&self, sql: &str, bound: Duration) -> anyhow::Result<Answered> {
        let answer = tokio::time::timeout(bound, self.post(sql)).await;
        answer
            .with_context(|| format!("ClickHouse did not answer in {} s", bound.as_secs()))?
            .context("failed to query ClickHouse")
    }

    /// The full name of the table.
    pub fn table(&self) -> String {
        format!("`{}`.`{}`", self.database, self.table)
    }

    async fn post(&self, sql: &str) -> anyhow::Result<Answered> {
        let mut login = String::new();
        if !self.user.is_empty() {
            login = format!("X-ClickHouse-User: {}\r\nX-ClickHouse-Key: {}\r\n", self.user, self.password.0);
        }
        let request = format!(
            "POST /?default_format=TabSeparated&wait_end_of_query=1&database={} HTTP/1.1\r\nHost: clickhouse\r\nConnection: close\r\n{login}\
             Content-Length: {}\r\n\r\n{sql}",
            self.database,
            sql.len()
        );
        let answer = exchange::ask_whole(self.address, request.as_bytes()).await?;
        let text = String::from_utf8(answer.body).context("the answer is no text")?;
        if answer.status != 200 {
            bail!("status {}: {}", answer.status, text.lines().next().unwrap_or_default());
        }
        let summary = answer.head.lines().find_map(|line| line.strip_prefix("x-clickhouse-summary: "));
        Ok(Answered { text, summary: summary.map(str::to_owned) })
    }
}
