//! The server configuration that we write: small, local, quiet.

use std::path::Path;

use super::Ports;

/// Data, below the engine's folder.
pub(super) const DATA_DIR: &str = "data";

/// `display_name` must be plain ASCII; `extra` is XML and stands last, where ours is not repeated.
pub(super) fn render(dir: &Path, display_name: &str, ports: Ports, extra: &str) -> String {
    let dir = escape(&dir.to_string_lossy());
    let Ports { http, tcp } = ports;
    // Pool sizes: each of these threads wakes now and then. Of the schedule pool one kind of task may take a
    // share only, and fewer than eight threads make it complain several times a second.
    // log-level is the one that the library heeds, where logger/level is the server's.
    // merge_tree: with the default of 20 free slots, the 8 slots of this pool would never run a mutation.
    format!(
        "<clickhouse>
    <display_name>{display_name}</display_name>
    <listen_host>127.0.0.1</listen_host>
    <http_port>{http}</http_port>
    <tcp_port>{tcp}</tcp_port>
    <path>{dir}/{DATA_DIR}/</path>
    <tmp_path>{dir}/{DATA_DIR}/tmp/</tmp_path>
    <timezone>UTC</timezone>
    <log-level>warning</log-level>
    <logger>
        <level>warning</level>
        <log>{dir}/engine.log</log>
        <errorlog>{dir}/engine.error.log</errorlog>
        <size>16M</size>
        <count>2</count>
    </logger>
    <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
    <mark_cache_size>268435456</mark_cache_size>
    <background_pool_size>4</background_pool_size>
    <background_schedule_pool_size>8</background_schedule_pool_size>
    <merge_tree>
        <number_of_free_entries_in_pool_to_execute_mutation>2</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>2</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>2</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    </merge_tree>
    <users>
        <default>
            <password></password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <access_management>1</access_management>
        </default>
    </users>
    <profiles><default></default></profiles>
    <quotas><default></default></quotas>
    <user_directories><users_xml><path>{dir}/config.xml</path></users_xml></user_directories>
    {extra}
</clickhouse>
"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_are_escaped() {
        let text = render(Path::new("/a <b> & c"), "name", Ports { http: 1, tcp: 2 }, "<extra/>");
        assert!(text.contains("<path>/a &lt;b&gt; &amp; c/data/</path>"));
        assert!(text.contains("    <extra/>\n</clickhouse>"));
    }
}
