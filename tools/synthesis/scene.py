"""The studio: Cycles on the CPU, a camera that frames the face, three lamps and a backdrop."""

import colorsys
import math
from dataclasses import dataclass

import bpy
import materials
import numpy as np
from head import Pose, to_blender
from makehuman import face_vertices
from mathutils import Vector

DISTANCE = 14.0
"""From the camera to the face, in dm."""

SENSOR = 36.0


@dataclass(frozen=True)
class Light:
    """Lamps and backdrop, as drawn; angles in degrees, warmth from -1 (cold) to 1 (warm)."""

    azimuth: float
    elevation: float
    warmth: float
    ratio: float
    strength: float
    size: float
    fill_azimuth: float
    fill_elevation: float
    rim: float
    surround: float
    surround_warmth: float
    backdrop: tuple[float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Light":
        azimuth = rng.uniform(-60, 60)
        return cls(
            azimuth=azimuth,
            elevation=rng.uniform(10, 50),
            warmth=rng.uniform(-1, 1),
            ratio=rng.uniform(0.2, 0.7),
            strength=900 * rng.uniform(0.8, 1.25),
            size=rng.uniform(3, 9),
            fill_azimuth=-math.copysign(rng.uniform(30, 70), azimuth),
            fill_elevation=rng.uniform(-5, 25),
            rim=rng.uniform(0, 700),
            surround=rng.uniform(0.15, 0.45),
            surround_warmth=rng.uniform(-0.6, 0.6),
            backdrop=colorsys.hsv_to_rgb(rng.uniform(0, 1), rng.uniform(0.05, 0.4), rng.uniform(0.05, 0.6)),
        )


class Studio:
    """The scene, without a head.

    Parameters
    ----------
    size : int, pixels
        Side of the images.
    samples : int
        Of Cycles, per pixel; a denoiser follows.
    """

    def __init__(self, size: int, samples: int) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.scene = scene = bpy.context.scene
        self.size, self.samples = size, samples
        scene.render.engine = "CYCLES"
        cycles = scene.cycles
        cycles.device = "CPU"
        cycles.seed = 0
        cycles.use_adaptive_sampling = False
        cycles.denoiser, cycles.denoising_prefilter = "OPENIMAGEDENOISE", "FAST"
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 6, 2, 2
        cycles.transparent_max_bounces = 24
        cycles.caustics_reflective = cycles.caustics_refractive = False
        scene.render.threads_mode, scene.render.threads = "FIXED", 1
        scene.render.use_persistent_data = True
        scene.world = bpy.data.worlds.new("surround")
        scene.world.use_nodes = True
        self.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        self.camera.data.sensor_width = SENSOR
        scene.collection.objects.link(self.camera)
        scene.camera = self.camera
        self.lamps = []
        for name in ("key", "fill", "rim"):
            self.lamps.append(bpy.data.objects.new(name, bpy.data.lights.new(name, "AREA")))
            scene.collection.objects.link(self.lamps[-1])
        self.backdrop = bpy.data.meshes.new("backdrop")
        corners = [(-40, 14, -40), (40, 14, -40), (40, 14, 40), (-40, 14, 40)]
        self.backdrop.from_pydata(corners, [], [(0, 1, 2, 3)])
        self.backdrop.materials.append(materials.plain((0.3, 0.3, 0.3), 1.0))
        scene.collection.objects.link(bpy.data.objects.new("backdrop", self.backdrop))

    def frame(self, vertices: np.ndarray, pose: Pose, rng: np.random.Generator) -> None:
        """Aim the camera at a face at rest: chin to forehead fill 74 % of the height, a little off centre."""
        face = to_blender(pose(vertices)[face_vertices()])
        low, high = face.min(axis=0), face.max(axis=0)
        height = high[2] - low[2]
        x, _, z = (low + high) / 2
        shift = rng.uniform(-0.04, 0.04, 2) * height
        self.target = Vector((x + shift[0], (low[1] + high[1]) / 2, z + shift[1] + 0.05 * height))
        self.camera.data.lens = 0.5 * SENSOR / (0.5 * height / 0.74 / DISTANCE)
        _aim(self.camera, self.target - Vector((0, DISTANCE, 0)), self.target)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return where points (n, 3), posed, lie in the image: (n, 2), continuous pixels."""
        points = to_blender(points)
        focal = self.camera.data.lens / SENSOR * self.size
        depth = points[:, 1] - (self.target.y - DISTANCE)
        x = self.size / 2 + focal * (points[:, 0] - self.target.x) / depth
        y = self.size / 2 - focal * (points[:, 2] - self.target.z) / depth
        return np.column_stack([x, y])

    def light(self, light: Light, ita: float) -> None:
        """Set the lamps around the camera's target, and the exposure for a skin of this typology angle.

        A photographer exposes for the face: up to 0.6 stops more on the darkest skins.
        """
        self.exposure = 0.3 + 0.6 * min(1.0, max(0.0, (-10 - ita) / 50))
        key, fill, rim = self.lamps
        settings = (
            (key, light.azimuth, light.elevation, 14, light.strength, light.size, light.warmth),
            (fill, light.fill_azimuth, light.fill_elevation, 16, 900 * light.ratio, 9, -light.warmth / 2),
            (rim, 180 - 0.7 * light.azimuth, 40, 14, light.rim, 4, 0.3),
        )
        for lamp, azimuth, elevation, distance, energy, size, warmth in settings:
            a, e = math.radians(azimuth), math.radians(elevation)
            way = Vector((math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)))
            _aim(lamp, self.target + distance * way, self.target)
            lamp.data.energy, lamp.data.size, lamp.data.color = energy, size, _warm(warmth)
        surround = self.scene.world.node_tree.nodes["Background"]
        surround.inputs[0].default_value = (*_warm(light.surround_warmth), 1)
        surround.inputs[1].default_value = light.surround
        color = self.backdrop.materials[0].node_tree.nodes["surface"].inputs["Base Color"]
        color.default_value = (*light.backdrop, 1)

    def photograph(self, path: str) -> None:
        """Render how the scene looks into a PNG file."""
        self._set(self.size, self.samples, "AgX", "PNG", "RGB", "8")
        view = self.scene.view_settings
        view.look, view.exposure = "AgX - Medium High Contrast", self.exposure
        self.scene.cycles.use_denoising = True
        self._render(path)

    def measure(self, path: str) -> np.ndarray:
        """Render the data output at half size: (size / 2, size / 2, 3), linear."""
        self._set(self.size // 2, 4, "Raw", "OPEN_EXR", "RGB", "32")
        self.scene.view_settings.exposure = 0
        self.scene.cycles.use_denoising = False
        surround = self.scene.world.node_tree.nodes["Background"].inputs[1]
        before, surround.default_value = surround.default_value, 0.0
        self._render(path)
        surround.default_value = before
        image = bpy.data.images.load(path)
        image.colorspace_settings.name = "Non-Color"
        side = self.size // 2
        pixels = np.empty(4 * side * side, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
        return pixels.reshape(side, side, 4)[::-1, :, :3]

    def _set(self, size: int, samples: int, view: str, form: str, mode: str, depth: str) -> None:
        self.scene.cycles.samples = samples
        self.scene.render.resolution_x = self.scene.render.resolution_y = size
        self.scene.view_settings.view_transform = view
        if view == "Raw":
            self.scene.view_settings.look = "None"
        settings = self.scene.render.image_settings
        settings.file_format, settings.color_mode, settings.color_depth = form, mode, depth

    def _render(self, path: str) -> None:
        self.scene.render.filepath = path
        bpy.ops.render.render(write_still=True)


def _aim(thing: bpy.types.Object, place: Vector, target: Vector) -> None:
    thing.location = place
    thing.rotation_euler = (target - place).to_track_quat("-Z", "Y").to_euler()


def _warm(warmth: float) -> tuple[float, float, float]:
    return (1 + 0.12 * warmth, 1.0, 1 - 0.14 * warmth)
