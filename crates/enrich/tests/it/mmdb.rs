//! Writes small MaxMind DB files (format 2.0, 32-bit records), for the shapes that no published test file has.

use std::path::PathBuf;

use ipnet::IpNet;

/// A value of a record.
#[derive(Clone)]
pub enum Value {
    Text(&'static str),
    Float(f32),
    Double(f64),
    Map(Vec<(&'static str, Value)>),
    U16(u16),
    U32(u32),
    U64(u64),
    EmptyList,
}

/// Writes a database of `networks` under a name that is one test's own.
pub fn write(
    name: &str,
    database_type: &'static str,
    ip_version: u16,
    networks: &[(&str, Value)],
) -> PathBuf {
    let mut nodes: Vec<[Entry; 2]> = vec![[Entry::Empty; 2]];
    let mut data = Vec::new();
    for (net, value) in networks {
        let net: IpNet = net.parse().unwrap();
        // In a tree for IPv6, IPv4 stands under ::/96.
        let (bits, len) = match net {
            IpNet::V4(net) if ip_version == 4 => {
                (u128::from(net.network().to_bits()) << 96, net.prefix_len())
            }
            IpNet::V4(net) => (net.network().to_bits().into(), net.prefix_len() + 96),
            IpNet::V6(net) => (net.network().to_bits(), net.prefix_len()),
        };
        let offset = data.len() as u32;
        encode(value, &mut data);
        let mut node = 0;
        for depth in 0..len {
            let side = (bits >> (127 - depth) & 1) as usize;
            if depth + 1 == len {
                nodes[node][side] = Entry::Data(offset);
            } else {
                node = match nodes[node][side] {
                    Entry::Node(next) => next,
                    _ => {
                        nodes.push([Entry::Empty; 2]);
                        let next = nodes.len() - 1;
                        nodes[node][side] = Entry::Node(next);
                        next
                    }
                };
            }
        }
    }

    let count = nodes.len() as u32;
    let mut bytes = Vec::new();
    for entry in nodes.iter().flatten() {
        let record = match *entry {
            Entry::Empty => count,
            Entry::Node(index) => index as u32,
            Entry::Data(offset) => count + 16 + offset,
        };
        bytes.extend_from_slice(&record.to_be_bytes());
    }
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&data);
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = Value::Map(vec![
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(1_780_617_600)),
        ("database_type", Value::Text(database_type)),
        ("description", Value::Map(vec![])),
        ("ip_version", Value::U16(ip_version)),
        ("languages", Value::EmptyList),
        ("node_count", Value::U32(count)),
        ("record_size", Value::U16(32)),
    ]);
    encode(&metadata, &mut bytes);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.mmdb"));
    std::fs::write(&path, bytes).unwrap();
    path
}

#[derive(Clone, Copy)]
enum Entry {
    Empty,
    Node(usize),
    Data(u32),
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            control(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Double(n) => {
            control(3, 8, out);
            out.extend_from_slice(&n.to_be_bytes());
        }
        Value::Float(n) => {
            control(15, 4, out);
            out.extend_from_slice(&n.to_be_bytes());
        }
        Value::U16(n) => {
            control(5, 2, out);
            out.extend_from_slice(&n.to_be_bytes());
        }
        Value::U32(n) => {
            control(6, 4, out);
            out.extend_from_slice(&n.to_be_bytes());
        }
        Value::U64(n) => {
            control(9, 8, out);
            out.extend_from_slice(&n.to_be_bytes());
        }
        Value::Map(pairs) => {
            control(7, pairs.len(), out);
            for (key, value) in pairs {
                encode(&Value::Text(key), out);
                encode(value, out);
            }
        }
        Value::EmptyList => control(11, 0, out),
    }
}

fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (size, more) = if size < 29 { (size as u8, None) } else { (29, Some((size - 29) as u8)) };
    if kind < 8 {
        out.push(kind << 5 | size);
    } else {
        out.extend_from_slice(&[size, kind - 7]);
    }
    out.extend(more);
}

/// A record as ip-location-db writes it: coordinates as `number` makes them, no time zone.
pub fn flat(country: &'static str, city: &'static str, at: (f64, f64), number: fn(f64) -> Value) -> Value {
    Value::Map(vec![
        ("city", Value::Text(city)),
        ("country_code", Value::Text(country)),
        ("latitude", number(at.0)),
        ("longitude", number(at.1)),
        ("postcode", Value::Text("")),
        ("state1", Value::Text("First Level")),
        ("state2", Value::Text("")),
        ("timezone", Value::Text("")),
    ])
}

pub fn float(n: f64) -> Value {
    Value::Float(n as f32)
}
