//! Writes the CustomResourceDefinitions as YAML into a folder (`crds/` of the repository).

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: slotmesh-crds FOLDER   (for example: slotmesh-crds crds)");
        return ExitCode::from(2);
    };
    for (file, crd) in slotmesh_api::crds::all() {
        let path = folder.join(file);
        let yaml = match serde_saphyr::to_string(&crd) {
            Ok(yaml) => yaml,
            Err(error) => {
                eprintln!("cannot write {file} as YAML: {error}");
                return ExitCode::FAILURE;
            }
        };
        if let Err(error) = std::fs::write(&path, yaml) {
            eprintln!("cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("{}", path.display());
    }
    ExitCode::SUCCESS
}
