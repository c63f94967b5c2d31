//! Where Kafka's libraries come from.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::file;
use crate::tool::MAVEN;
use crate::{Cache, LocalError, fetch};

const VERSION: &str = "4.1.1";

/// Maven works out which libraries this Kafka needs. slf4j is of Kafka's own version, as its two halves must match.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>mailbeacon</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>4.1.1</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"#;
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// The class path of `$KAFKA_HOME`, else of the cached Kafka, which Maven fetches when first needed.
pub(super) fn class_path(cache: &Cache) -> Result<OsString, LocalError> {
    let libraries = match env::var_os("KAFKA_HOME").filter(|home| !home.is_empty()) {
        Some(home) => PathBuf::from(home).join("libs"),
        None => cache.item(&format!("kafka-{VERSION}"), fetch_by_maven)?.join("lib"),
    };
    if !libraries.is_dir() {
        return Err(LocalError::Options(format!(
            "no folder {}: KAFKA_HOME must name an unpacked Kafka",
            libraries.display()
        )));
    }
    // Java itself opens the star.
    Ok(libraries.join("*").into())
}

fn fetch_by_maven(into: &Path) -> Result<(), LocalError> {
    let pom = into.join("pom.xml");
    fs::write(&pom, POM).map_err(file("write", &pom))?;
    let what = format!("kafka {VERSION}");
    // Without strict checksums Maven takes a damaged file with a warning.
    fetch::run(MAVEN, &["-q", "-B", "--strict-checksums", COPY, "-DoutputDirectory=lib"], into, &what)?;
    let library = format!("kafka_2.13-{VERSION}.jar");
    if into.join("lib").join(&library).is_file() {
        Ok(())
    } else {
        Err(LocalError::NotInArchive { what, wanted: library })
    }
}
