"""Pages in a headless browser, for tests."""

import re
import shutil
import subprocess

import cv2
import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="neither chromium nor google-chrome is installed")


def _run(page, folder, *options, dark=False):
    command = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not (said := [line for line in done.stderr.splitlines() if "CONSOLE" in line]), said
    return done.stdout


def screenshot(page, folder, size=(1000, 700), dark=False):
    """The page as a picture (H, W, 3), BGR; fails where the console has an error."""
    path = folder / "page.png"
    _run(page, folder, f"--screenshot={path}", f"--window-size={size[0]},{size[1]}", dark=dark)
    return cv2.imread(str(path))


# In virtual time, a page without a screen is not asked for frames.
_FRAMES = "<script>requestAnimationFrame = act => setTimeout(() => act(performance.now()), 10);</script>"


def evaluate(page, folder, script):
    """What a script in the page hands to `answer(text)`, after it has been drawn."""
    copy = folder / "scripted.html"
    code = (
        "<script>const answer = text => { document.body.dataset.answer = text; };"
        f"setTimeout(() => {{ {script} }}, 100);</script></body>"
    )
    text = page.read_text(encoding="utf-8")
    assert text.count("</body>") == 1
    text = text.replace("<title>", f"{_FRAMES}<title>", 1).replace("</body>", code)
    copy.write_text(text, encoding="utf-8")
    dom = _run(copy, folder, "--dump-dom", "--virtual-time-budget=5000")
    found = re.search(r'data-answer="([^"]*)"', dom)
    assert found, "the script did not answer"
    return found[1]
