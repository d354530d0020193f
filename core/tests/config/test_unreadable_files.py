"""S2: a file that cannot be read at all is one error that names it and the reason."""

import os
from pathlib import Path

import pytest
from mcp_orchestra.config.loader import load_config
from mcp_orchestra.errors import ConfigurationError


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_s2_a_file_that_is_not_utf8_says_so(load, encoding):
    with pytest.raises(ConfigurationError, match=r"UTF-16|UTF-8"):
        load("mcp_servers:\n  a: {name: Büro, url: http://x}\n".encode(encoding))


def test_s2_the_first_byte_that_is_not_utf8_is_located(refused):
    refused(b"mcp_servers:\n  a: {name: \xc3\xa4\xff, url: http://x}\n", "2:14", "not UTF-8")


@pytest.mark.parametrize("name", ["mcp_config.yaml", "mcp.json", "config"])
def test_a_byte_order_mark_is_skipped(load, name):
    assert load(b'\xef\xbb\xbf{"mcp_servers": {}}', name).config.mcp_servers == {}


def test_s2_a_missing_file_is_named(check, plugins, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load_config(tmp_path / "gone.yaml", plugins=plugins)
    check(caught.value, "", "does not exist")


@pytest.mark.parametrize("name", ["a\0b.yaml", "missing/mcp_config.yaml", "x" * 300])
def test_s2_a_name_that_no_file_can_have_is_an_error_of_ours(plugins, tmp_path, name):
    with pytest.raises(ConfigurationError):
        load_config(tmp_path / name, plugins=plugins)


def test_s2_a_directory_is_named(check, plugins, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load_config(tmp_path, plugins=plugins)
    check(caught.value, "", "is a directory")


def test_s2_an_unreadable_file_is_named(check, plugins, tmp_path, monkeypatch):
    file = tmp_path / "mcp_config.yaml"
    file.write_text("mcp_servers: {}")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")  # what root never gets to see

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(ConfigurationError) as caught:
        load_config(file, plugins=plugins)
    check(caught.value, "", "may not be read")


def test_s2_links_that_lead_nowhere_are_an_error_of_ours(check, plugins, tmp_path):
    file = tmp_path / "mcp_config.yaml"
    file.symlink_to(file)
    with pytest.raises(ConfigurationError) as caught:
        load_config(file, plugins=plugins)
    check(caught.value, "", "cannot be read", "ELOOP")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_s2_a_device_is_not_read(plugins, device):
    with pytest.raises(ConfigurationError, match="not a regular file"):
        load_config(Path(device), plugins=plugins)


def test_s2_a_pipe_is_not_waited_for(plugins, tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        load_config(tmp_path / "pipe.yaml", plugins=plugins)


def test_s2_a_file_of_more_than_a_megabyte_is_refused(load):
    with pytest.raises(ConfigurationError, match="larger than 1 000 000 bytes"):
        load("mcp_servers: {}\n" + "#" * 1_000_000)


def test_a_file_of_a_megabyte_is_read(load):
    text = "mcp_servers: {}\n"
    assert load(text + "#" * (1_000_000 - len(text))).config.mcp_servers == {}
