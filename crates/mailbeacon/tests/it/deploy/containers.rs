//! `Dockerfile` and `compose.yaml`: every name in them is somewhere, and the program takes what it is given.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use serde_yaml_ng::Value as Yaml;
use toml::Table;

use super::{default_of, mailbeacon, path, repository, text, yaml};

const INSTRUCTIONS: [&str; 13] = [
    "FROM",
    "RUN",
    "COPY",
    "WORKDIR",
    "USER",
    "ENV",
    "ARG",
    "EXPOSE",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ENTRYPOINT",
    "CMD",
    "LABEL",
];

/// Instruction and arguments, continued lines joined.
fn dockerfile() -> Vec<(String, String)> {
    let text = text("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (instruction, rest) = line.split_once(' ').unwrap();
            assert!(INSTRUCTIONS.contains(&instruction), "{line}");
            (instruction.to_owned(), rest.trim().to_owned())
        })
        .collect()
}

fn all<'a>(file: &'a [(String, String)], instruction: &str) -> Vec<&'a str> {
    file.iter().filter(|(name, _)| name == instruction).map(|(_, rest)| rest.as_str()).collect()
}

/// An image by a tag that says which version it is.
fn assert_pinned(image: &str) {
    let tag = image.split_once(':').unwrap_or_else(|| panic!("{image} has no tag")).1;
    assert_ne!(tag, "latest");
}

#[test]
fn the_image_is_made_of_what_is_there() {
    let file = dockerfile();
    let ignored = text("Dockerfile.dockerignore");
    for copy in all(&file, "COPY") {
        let mut words: Vec<&str> = copy.split_whitespace().collect();
        words.pop();
        if words[0].starts_with("--from=") {
            assert!(
                file.iter().any(|(_, rest)| rest.ends_with(&words[0].replace("--from=", " AS "))),
                "{copy}"
            );
            continue;
        }
        for source in words {
            assert!(repository().join(source).exists(), "COPY {source}");
            assert!(!ignored.lines().any(|line| line == source), "{source} is ignored");
        }
    }
    let from = all(&file, "FROM");
    let cargo: Table = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap().parse().unwrap();
    let rust = cargo["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(from[0].starts_with(&format!("rust:{rust}")), "{} is older than rust-version = {rust}", from[0]);
    from.iter().for_each(|image| assert_pinned(image.split(' ').next().unwrap()));
    let user = *all(&file, "USER").last().unwrap();
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "USER {user}");
    for form in [all(&file, "ENTRYPOINT"), all(&file, "CMD")].concat() {
        serde_json::from_str::<Vec<String>>(form).unwrap();
    }
}

#[test]
fn the_healthcheck_asks_for_readiness() {
    let file = dockerfile();
    let check = all(&file, "HEALTHCHECK")[0].split_once("CMD ").unwrap().1;
    let check: Vec<String> = serde_json::from_str(check).unwrap();
    let run = |port: u16| {
        let words = check.iter().map(|word| word.replace("9090", &port.to_string())).collect::<Vec<_>>();
        Command::new(&words[0]).args(&words[1..]).output().unwrap().status.success()
    };
    for (status, healthy) in [("200 OK", true), ("503 Service Unavailable", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        assert_eq!(run(port), healthy, "{status}");
        assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.0\r\n"));
        assert!(!run(port), "nobody listens any more");
    }
}

/// `${NAME:-default}` and `${NAME:?message}` as compose fills them in, with every required one given.
fn interpolate(text: &str, names: &mut BTreeSet<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, behind) = after.split_once('}').unwrap();
        let name_length = variable.find(':').unwrap_or(variable.len());
        names.insert(variable[..name_length].to_owned());
        out += before;
        out += variable.split_once(":-").map_or("given", |(_, default)| default);
        rest = behind;
    }
    out + rest
}

fn strings(value: &Yaml) -> Vec<&str> {
    value.as_sequence().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

fn seconds(value: &Yaml) -> u64 {
    value.as_str().and_then(|text| text.strip_suffix('s')).unwrap().parse().unwrap()
}

#[test]
fn what_compose_names_is_there() {
    let compose = yaml("compose.yaml");
    let services = compose["services"].as_mapping().unwrap();
    let volumes = compose["volumes"].as_mapping().unwrap();
    let (mut used, mut variables) = (BTreeSet::new(), BTreeSet::new());
    for (name, service) in services {
        let name = name.as_str().unwrap();
        let ours = service.get("build").is_some();
        match ours {
            true => {
                assert_eq!(service["build"]["context"].as_str(), Some(".."));
                assert!(repository().join(service["build"]["dockerfile"].as_str().unwrap()).exists());
            }
            false => assert_pinned(service["image"].as_str().unwrap()),
        }
        assert!(service.get("restart").is_some(), "{name} has no restart policy");
        assert!(ours || service.get("healthcheck").is_some(), "{name} has no healthcheck");
        for (other, how) in service.get("depends_on").and_then(Yaml::as_mapping).into_iter().flatten() {
            let other = services.get(other).unwrap_or_else(|| panic!("{name} depends on {other:?}"));
            let checked = other.get("healthcheck").is_some_and(|check| check.get("disable").is_none());
            assert_eq!(how["condition"].as_str() == Some("service_healthy"), checked, "{name}: {how:?}");
        }
        for volume in strings(service.get("volumes").unwrap_or(&Yaml::Null)) {
            let source = volume.split(':').next().unwrap();
            match source.strip_prefix("./") {
                None => assert!(volumes.contains_key(source), "{name}: {volume}"),
                // The operator's own, and therefore never committed.
                Some(own) if text(".gitignore").lines().any(|line| line == format!("/{own}/")) => (),
                Some(file) => assert!(path(file).exists(), "{name}: {volume}"),
            }
            used.insert(source.to_owned());
        }
        for (variable, value) in service.get("environment").and_then(Yaml::as_mapping).into_iter().flatten() {
            let (variable, value) = (variable.as_str().unwrap(), value.as_str().unwrap());
            interpolate(value, &mut variables);
            assert!(
                !variable.contains("PASSWORD") || value.starts_with("${"),
                "{name}: {variable} is in the file"
            );
        }
    }
    for volume in volumes.keys().map(|volume| volume.as_str().unwrap()) {
        assert!(used.contains(volume), "volume {volume} is used by nobody");
    }
    let example = text(".env.example");
    let named = example.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    let named: BTreeSet<String> =
        named.map(|(name, _)| name.to_owned()).filter(|name| !name.contains(' ')).collect();
    assert_eq!(named, variables, ".env.example names other variables than compose.yaml uses");
}

#[test]
fn the_program_takes_what_compose_gives_it() {
    let compose = yaml("compose.yaml");
    let drains_s = (default_of("edge.drain_ms") + default_of("edge.ship_deadline_ms")) / 1_000;
    let mut commands = BTreeSet::new();
    for (name, service) in compose["services"].as_mapping().unwrap() {
        if service.get("build").is_none() {
            continue;
        }
        let name = name.as_str().unwrap();
        let mut environment = Vec::new();
        for (variable, value) in service["environment"].as_mapping().unwrap() {
            let value = interpolate(value.as_str().unwrap(), &mut BTreeSet::new());
            environment.push((variable.as_str().unwrap().to_owned(), value));
        }
        let file = environment.iter_mut().find(|(variable, _)| variable == "MAILBEACON_CONFIG").unwrap();
        let mounted = format!("./mailbeacon.toml:{}:ro", file.1);
        assert!(strings(&service["volumes"]).contains(&mounted.as_str()), "{name} lacks its configuration");
        file.1 = path("mailbeacon.toml").to_str().unwrap().to_owned();
        let shown = mailbeacon(&environment, &["config"]).unwrap_or_else(|cause| panic!("{name}: {cause}"));
        let shown: Table = shown.parse().unwrap();
        assert_eq!(shown["admin"]["listen"].as_str(), Some("0.0.0.0:9090"), "{name}");
        let mut command = strings(&service["command"]);
        commands.insert(command[0].to_owned());
        command.push("--help");
        mailbeacon(&[], &command).unwrap();
        assert!(seconds(&service["stop_grace_period"]) > drains_s, "{name} is killed while it drains");
    }
    assert_eq!(commands, ["--help", "consume", "edge", "migrate"].map(str::to_owned).into());
}

#[test]
fn prometheus_and_grafana_look_at_what_runs() {
    let compose = yaml("compose.yaml");
    let service = |address: &str| {
        let (host, port) = address.split_once(':').unwrap();
        assert!(compose["services"].get(host).is_some(), "no service {host}");
        port.to_owned()
    };
    let prometheus = yaml("prometheus.yml");
    for job in prometheus["scrape_configs"].as_sequence().unwrap() {
        for target in strings(&job["static_configs"][0]["targets"]) {
            assert_eq!(service(target), "9090", "{target}: not the admin listener");
        }
    }
    for file in strings(&prometheus["rule_files"]) {
        let mounted = format!("./{file}:/etc/prometheus/{file}:ro");
        assert!(strings(&compose["services"]["prometheus"]["volumes"]).contains(&mounted.as_str()), "{file}");
    }
    let source = yaml("grafana/provisioning/datasources/prometheus.yml");
    service(source["datasources"][0]["url"].as_str().unwrap().strip_prefix("http://").unwrap());
    let provider = yaml("grafana/provisioning/dashboards/mailbeacon.yml");
    let shelf = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let mounted = format!("./grafana/dashboards:{shelf}:ro");
    assert!(strings(&compose["services"]["grafana"]["volumes"]).contains(&mounted.as_str()), "{mounted}");
}
