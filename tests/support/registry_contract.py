"""What training and the services rely on in a model registry, the real one and the one in memory alike."""

from pathlib import Path

from shotwatch_common.bundle_files import BUNDLE_FILES
from shotwatch_common.registry import ModelRegistry
from shotwatch_shots.vocabulary import ModelAlias
from shotwatch_training.registry import BUNDLE, Registry

CHAMPION = ModelAlias.CHAMPION


def train(training: Registry, folder: Path) -> tuple[str, str]:
    """Register a version with a bundle; return the version and the id of its run."""
    for name in BUNDLE_FILES:
        (folder / name).write_bytes(name.encode())
    with training.run() as run:
        run.params({"epochs": 2})
        run.metrics({"best_val_loss": 0.1})
        run.files(folder, BUNDLE)
        version = training.register(run, {"cameras": "1"})
    return version, run.id


class RegistryContract:
    """The tests. A subclass's module has the fixtures `training` and `registry`, of a model of their own."""

    async def test_before_the_first_training_nothing_is_there(self, registry: ModelRegistry) -> None:
        assert await registry.aliases() == {}
        assert await registry.versions() == []
        assert await registry.find("1") is None

    async def test_a_registered_bundle_is_served_as_it_was_uploaded(
        self, training: Registry, registry: ModelRegistry, tmp_path: Path
    ) -> None:
        version, run_id = train(training, tmp_path)
        found = await registry.find(version)
        assert found is not None
        assert (found.version, found.run_id) == (version, run_id)
        assert await registry.bundle(found) == {name: name.encode() for name in BUNDLE_FILES}

    async def test_versions_are_listed_newest_first_with_their_tags(
        self, training: Registry, registry: ModelRegistry, tmp_path: Path
    ) -> None:
        versions = [train(training, tmp_path)[0] for _ in range(2)]
        await registry.tag(versions[0], {"false": "3"})
        await registry.tag("99", {"false": "3"})
        newer, older = await registry.versions()
        assert [older.version, newer.version] == versions
        assert (newer.tags, older.tags) == ({"cameras": "1"}, {"cameras": "1", "false": "3"})

    async def test_an_alias_belongs_to_one_version_at_a_time(
        self, training: Registry, registry: ModelRegistry, tmp_path: Path
    ) -> None:
        for version in [train(training, tmp_path)[0] for _ in range(2)]:
            await registry.give(CHAMPION, version)
            assert await registry.aliases() == {CHAMPION: version}
        for _ in range(2):
            await registry.withdraw(CHAMPION)
            assert await registry.aliases() == {}
