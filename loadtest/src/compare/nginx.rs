//! nginx with its `empty_gif` and `return 302`, at its best settings, with its log kept in one way or another.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;

use super::bench::{Bench, Running, UP_WAIT, find, until};

/// What one needs to know of an nginx that is up.
pub struct Nginx {
    /// The process.
    pub running: Running,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its log, if it writes one.
    pub log: PathBuf,
    /// Its configuration, line by line.
    pub config: Vec<String>,
    /// What it says it is.
    pub version: String,
}

/// A line of the log with what an event has, for those who send it on.
pub const EVENT: &str = "event";

/// Starts it. `access_log` is what stands after that word; `LOG` in it stands for the log's path.
pub fn start(bench: &Bench, name: &'static str, access_log: &str) -> anyhow::Result<Nginx> {
    let program = find("nginx")?;
    let program = program.to_string_lossy();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, local::free_ports(1)?[0]));
    let prefix = bench.dir.join(name);
    fs::create_dir_all(&prefix).with_context(|| format!("failed to create {}", prefix.display()))?;
    let log = prefix.join("access.log");
    let access_log = access_log.replace("LOG", &log.to_string_lossy());
    let config = config(address, &access_log);
    let path = prefix.join("nginx.conf");
    fs::write(&path, &config).with_context(|| format!("failed to write {}", path.display()))?;
    let (prefix, path) = (prefix.to_string_lossy(), path.to_string_lossy());
    let running = bench.peer(name, &[&program, "-p", &prefix, "-e", "error.log", "-c", &path])?;
    until("nginx to listen", UP_WAIT, || {
        running.program().check()?;
        Ok(std::net::TcpStream::connect(address).map(drop).map_err(|error| error.to_string()))
    })?;
    let said = bench.said("nginx-version", &[&program, "-v"])?;
    let version = said.trim().trim_start_matches("nginx version: ").to_owned();
    let config = config.lines().map(str::to_owned).collect();
    Ok(Nginx { running, address, log, config, version })
}

/// One worker, as our edge has; it is the main process too, so that none stays behind.
fn config(address: SocketAddr, access_log: &str) -> String {
    format!(
        r#"daemon off;
master_process off;
worker_rlimit_nofile 65536;
pid nginx.pid;
error_log error.log warn;
events {{
    worker_connections 16384;
    multi_accept on;
    use epoll;
}}
http {{
    log_format {EVENT} escape=json '{{"at":$msec,"path":"$request_uri","method":"$request_method","address":"$remote_addr","forwarded":"$http_x_forwarded_for","agent":"$http_user_agent","accept":"$http_accept","language":"$http_accept_language","referer":"$http_referer","host":"$host"}}';
    access_log {access_log};
    keepalive_requests 100000000;
    keepalive_timeout 3600s;
    tcp_nodelay on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {address} deferred reuseport backlog=4096;
        location /o/ {{
            empty_gif;
        }}
        location /c/ {{
            return 302 "https://shop.example/autumn/offer-1?utm_source=mail&utm_campaign=autumn";
        }}
    }}
}}
"#
    )
}
